-- Creates the configuration database at its first start: two tables, and the virtual test meter.
--
-- Running it again changes nothing: it inserts rows only into tables that it has just created, so that deleted rows stay
-- deleted. `emm db upgrade` adds further columns, tables and constraints.

DO $init$
BEGIN
    IF to_regclass('energy_meters') IS NULL THEN
        CREATE TABLE energy_meters (
            id            integer,
            host          text,
            port          integer,
            slave_address integer,
            type          text,
            description   text
        );
        INSERT INTO energy_meters VALUES
            (0, 'virtual_modbustcp_server', 502, 0, 'virtual_modbustcp', 'test_energy_meter');
    END IF;

    IF to_regclass('registers') IS NULL THEN
        CREATE TABLE registers (
            type             text,
            register_address integer,  -- zero-based, as on the wire
            measurement_name text,
            data_unit        text,
            data_type        integer,  -- 1 INT, 2 LONG, 3 FLOAT, 4 UINT16, 5 UINT32, 6 INT64, 7 UINT64, 8 FLOAT64
            function_code    integer,  -- 3 READ_HOLDING_REGISTERS, 4 READ_INPUT_REGISTERS
            word_order       integer,  -- 1 LITTLE_ENDIAN, 2 BIG_ENDIAN
            byte_order       integer   -- 1 LITTLE_ENDIAN, 2 BIG_ENDIAN
        );
        INSERT INTO registers VALUES
            ('virtual_modbustcp', 0, 'test_measurement', 'test_u', 1, 3, 2, 2);
    END IF;
END
$init$;

-- Example: an SDM630 on your network, whose registers are FLOATs read with function code 4:
--
-- INSERT INTO energy_meters VALUES
--     (1, '192.168.1.113', 502, 1, 'sdm630', 'example'),
--     (2, 'remote_with_open_ports', 8502, 1, 'sdm630', 'example');
--
-- INSERT INTO registers VALUES
--     ('sdm630', 0, 'voltageL1', 'V', 3, 4, 2, 2),
--     ('sdm630', 2, 'voltageL2', 'V', 3, 4, 2, 2),
--     ('sdm630', 4, 'voltageL3', 'V', 3, 4, 2, 2),
--     ('sdm630', 6, 'currentL1', 'A', 3, 4, 2, 2),
--     ('sdm630', 8, 'currentL2', 'A', 3, 4, 2, 2),
--     ('sdm630', 10, 'currentL3', 'A', 3, 4, 2, 2),
--     ('sdm630', 52, 'activePower', 'W', 3, 4, 2, 2);
