/* A Modbus server of libmodbus, for tests: serves the words that it reads from its standard input.
 *
 * libmodbus_server tcp PORT UNIT, or: libmodbus_server rtu DEVICE UNIT
 * Input: the words of the holding registers from 0 on, then those of the input registers, as many; each a line.
 * Prints "ready" once it listens; ends with its standard input's end of file or a signal.
 */
#include <errno.h>
#include <modbus.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { MOST_WORDS = 4096 };

int main(int argc, char **argv)
{
    static unsigned words[2 * MOST_WORDS];
    int count = 0;
    if (argc != 4)
        return 2;
    while (count < 2 * MOST_WORDS && scanf("%u", &words[count]) == 1)
        count++;
    modbus_mapping_t *mapping = modbus_mapping_new(0, 0, count / 2, count / 2);
    for (int i = 0; i < count / 2; i++) {
        mapping->tab_registers[i] = words[i];
        mapping->tab_input_registers[i] = words[count / 2 + i];
    }
    int is_tcp = !strcmp(argv[1], "tcp");
    modbus_t *context = is_tcp ? modbus_new_tcp("127.0.0.1", atoi(argv[2])) : modbus_new_rtu(argv[2], 9600, 'N', 8, 1);
    modbus_set_slave(context, atoi(argv[3]));
    int listening = is_tcp ? modbus_tcp_listen(context, 5) : modbus_connect(context);
    if (listening == -1) {
        fprintf(stderr, "%s\n", modbus_strerror(errno));
        return 1;
    }
    puts("ready");
    fflush(stdout);
    for (;;) {
        uint8_t request[MODBUS_TCP_MAX_ADU_LENGTH];
        if (is_tcp && modbus_tcp_accept(context, &listening) == -1)
            return 1;
        for (;;) {
            int size = modbus_receive(context, request);
            if (size == -1 && is_tcp)
                break;
            if (size > 0)
                modbus_reply(context, request, size, mapping);
        }
        modbus_close(context);
    }
}
