/* A Modbus server of libmodbus, for tests: serves the words that it reads from its standard input.
 *
 * libmodbus_server tcp PORT UNIT, or: libmodbus_server rtu DEVICE UNIT
 * Input, a number a line: the number of coils, and of holding registers; the coils from 0 on, as many discrete inputs,
 * the holding registers from 0 on, as many input registers.
 * Prints "ready" once it listens; ends with its standard input's end of file or a signal.
 */
#include <errno.h>
#include <modbus.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { MOST_WORDS = 4096 };

static unsigned next_number(void)
{
    unsigned number;
    if (scanf("%u", &number) != 1)
        exit(2);
    return number;
}

int main(int argc, char **argv)
{
    unsigned bits, registers;
    if (argc != 4 || scanf("%u %u", &bits, &registers) != 2 || bits > MOST_WORDS || registers > MOST_WORDS)
        return 2;
    modbus_mapping_t *mapping = modbus_mapping_new(bits, bits, registers, registers);
    for (unsigned i = 0; i < 2 * bits; i++)
        (i < bits ? mapping->tab_bits : mapping->tab_input_bits)[i % bits] = next_number();
    for (unsigned i = 0; i < 2 * registers; i++)
        (i < registers ? mapping->tab_registers : mapping->tab_input_registers)[i % registers] = next_number();
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
