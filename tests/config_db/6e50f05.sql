-- The configuration database of commit 6e50f05, as pg_dump writes it: its migrations up to 0008, with rows.
CREATE TABLE public.emm_alembic_version (
    version_num character varying(32) NOT NULL
);
CREATE TABLE public.emm_poll (
    "time" timestamp with time zone NOT NULL,
    id integer NOT NULL,
    description text,
    ok boolean NOT NULL,
    latency_ms double precision,
    requests integer,
    points integer,
    error text
);
CREATE TABLE public.energy_meters (
    id integer NOT NULL,
    host text,
    port integer,
    slave_address integer,
    type text,
    description text,
    enabled boolean DEFAULT true NOT NULL,
    CONSTRAINT energy_meters_host CHECK (((host IS NOT NULL) AND (btrim(host) <> ''::text))),
    CONSTRAINT energy_meters_id CHECK ((id IS NOT NULL)),
    CONSTRAINT energy_meters_port CHECK (((port IS NOT NULL) AND ((port >= 1) AND (port <= 65535)))),
    CONSTRAINT energy_meters_slave_address CHECK (((slave_address IS NOT NULL) AND ((slave_address >= 0) AND (slave_address <= 255)))),
    CONSTRAINT energy_meters_type CHECK (((type IS NOT NULL) AND (btrim(type) <> ''::text)))
);
CREATE TABLE public.installed_types (
    type text NOT NULL,
    content text NOT NULL,
    installed_at timestamp with time zone NOT NULL
);
CREATE TABLE public.mail_lines (
    id bigint NOT NULL,
    at timestamp with time zone DEFAULT now() NOT NULL,
    begun boolean NOT NULL,
    line text NOT NULL
);
ALTER TABLE public.mail_lines ALTER COLUMN id ADD GENERATED ALWAYS AS IDENTITY (
    SEQUENCE NAME public.mail_lines_id_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1
);
CREATE TABLE public.meter_status (
    id integer NOT NULL,
    configuration text,
    last_read_at timestamp with time zone,
    failing_since timestamp with time zone,
    failures_in_a_row integer DEFAULT 0 NOT NULL,
    reason text,
    next_attempt_at timestamp with time zone,
    recorded_at timestamp with time zone,
    failed_samples integer DEFAULT 0 NOT NULL,
    failed_samples_since timestamp with time zone,
    failed_sample_reason text
);
CREATE TABLE public.meter_types (
    type text NOT NULL,
    max_registers_per_request integer,
    max_gap integer,
    timeout_s double precision,
    request_pause_s double precision,
    CONSTRAINT meter_types_max_gap CHECK (((max_gap >= 0) AND (max_gap <= 124))),
    CONSTRAINT meter_types_max_registers_per_request CHECK (((max_registers_per_request >= 1) AND (max_registers_per_request <= 125))),
    CONSTRAINT meter_types_request_pause_s CHECK (((request_pause_s >= (0)::double precision) AND (request_pause_s <= (10)::double precision))),
    CONSTRAINT meter_types_timeout_s CHECK (((timeout_s > (0)::double precision) AND (timeout_s <= (60)::double precision))),
    CONSTRAINT meter_types_type CHECK ((btrim(type) <> ''::text))
);
CREATE TABLE public.model_addresses (
    meter_id integer NOT NULL,
    addresses text NOT NULL,
    configuration text NOT NULL,
    found_at timestamp with time zone NOT NULL
);
CREATE TABLE public.readings (
    "time" timestamp with time zone NOT NULL,
    id integer NOT NULL,
    description text,
    measurement text NOT NULL,
    unit text,
    value double precision NOT NULL
);
CREATE TABLE public.refused_registers (
    meter_id integer NOT NULL,
    type text NOT NULL,
    function_code integer NOT NULL,
    register_address integer NOT NULL,
    count integer NOT NULL,
    exception_code integer NOT NULL,
    refused_at timestamp with time zone NOT NULL,
    configuration text NOT NULL
);
CREATE TABLE public.registers (
    type text,
    register_address integer,
    measurement_name text,
    data_unit text,
    data_type integer,
    function_code integer,
    word_order integer,
    byte_order integer,
    scale double precision DEFAULT 1,
    invalid_value numeric,
    scale_register integer,
    model integer,
    CONSTRAINT registers_byte_order CHECK (((byte_order IS NOT NULL) AND (byte_order = ANY (ARRAY[1, 2])))),
    CONSTRAINT registers_data_type CHECK (((data_type IS NOT NULL) AND ((data_type >= 1) AND (data_type <= 8)))),
    CONSTRAINT registers_function_code CHECK (((function_code IS NOT NULL) AND (function_code = ANY (ARRAY[3, 4])))),
    CONSTRAINT registers_invalid_value CHECK ((invalid_value <> ALL (ARRAY['NaN'::numeric, 'Infinity'::numeric, '-Infinity'::numeric]))),
    CONSTRAINT registers_measurement_name CHECK (((measurement_name IS NOT NULL) AND (btrim(measurement_name) <> ''::text))),
    CONSTRAINT registers_model CHECK (((model IS NULL) OR (((model >= 1) AND (model <= 65534)) AND (function_code = 3)))),
    CONSTRAINT registers_register_address CHECK (((register_address IS NOT NULL) AND ((register_address >= 0) AND (register_address <= 65535)) AND ((register_address +
CASE
    WHEN (data_type = ANY (ARRAY[2, 3, 5])) THEN 2
    WHEN (data_type = ANY (ARRAY[6, 7, 8])) THEN 4
    ELSE 1
END) <= 65536))),
    CONSTRAINT registers_scale CHECK (((scale <> (0)::double precision) AND (scale <> ALL (ARRAY['NaN'::double precision, 'Infinity'::double precision, '-Infinity'::double precision])))),
    CONSTRAINT registers_scale_register CHECK (((scale_register >= 0) AND (scale_register <= 65535))),
    CONSTRAINT registers_type CHECK (((type IS NOT NULL) AND (btrim(type) <> ''::text))),
    CONSTRAINT registers_word_order CHECK (((word_order IS NOT NULL) AND (word_order = ANY (ARRAY[1, 2]))))
);
CREATE TABLE public.troubles (
    subject text NOT NULL,
    name text NOT NULL,
    since timestamp with time zone NOT NULL,
    reason text NOT NULL
);
INSERT INTO public.emm_alembic_version VALUES ('0008');
INSERT INTO public.emm_poll VALUES ('2026-03-01 12:00:00+00', 0, 'test_energy_meter', true, 1.5, 1, 1, NULL);
INSERT INTO public.emm_poll VALUES ('2026-03-01 12:00:00+00', 1, 'example', false, 1000, 1, 0, 'no reply');
INSERT INTO public.energy_meters VALUES (0, 'virtual_modbustcp_server', 502, 0, 'virtual_modbustcp', 'test_energy_meter', true);
INSERT INTO public.energy_meters VALUES (1, '192.168.1.113', 502, 1, 'sdm630', 'example', true);
INSERT INTO public.energy_meters VALUES (3, '10.0.0.9', 502, 1, 'gone', 'a type without registers', true);
INSERT INTO public.energy_meters VALUES (2, 'remote_with_open_ports', 8502, 1, 'sdm630', NULL, false);
INSERT INTO public.installed_types VALUES ('sdm630', 'content', '2026-03-01 09:00:00+00');
INSERT INTO public.mail_lines OVERRIDING SYSTEM VALUE VALUES (1, '2026-03-01 11:03:00+00', true, 'meter 1 (example) fails');
INSERT INTO public.meter_status VALUES (0, 'c', '2026-03-01 12:00:00+00', NULL, 0, NULL, NULL, NULL, 0, NULL, NULL);
INSERT INTO public.meter_status VALUES (1, 'd', '2026-03-01 11:00:00+00', '2026-03-01 11:01:00+00', 7, '192.168.1.113:502 unit 1: no reply within 1 s', '2026-03-01 12:05:00+00', NULL, 2, NULL, NULL);
INSERT INTO public.meter_types VALUES ('sdm630', NULL, 10, NULL, NULL);
INSERT INTO public.model_addresses VALUES (1, '{}', 'd', '2026-03-01 09:00:00+00');
INSERT INTO public.readings VALUES ('2026-03-01 12:00:00+00', 0, 'test_energy_meter', 'test_measurement', 'test_u', 42);
INSERT INTO public.readings VALUES ('2026-03-01 11:00:00+00', 1, 'example', 'voltageL1', 'V', 230.5);
INSERT INTO public.refused_registers VALUES (1, 'sdm630', 4, 52, 2, 2, '2026-03-01 10:00:00+00', 'd');
INSERT INTO public.registers VALUES ('virtual_modbustcp', 0, 'test_measurement', 'test_u', 1, 3, 2, 2, 1, NULL, NULL, NULL);
INSERT INTO public.registers VALUES ('sdm630', 0, 'voltageL1', 'V', 3, 4, 2, 2, 1, NULL, NULL, NULL);
INSERT INTO public.registers VALUES ('sdm630', 52, 'activePower', 'W', 3, 4, 2, 2, 1, NULL, NULL, NULL);
INSERT INTO public.troubles VALUES ('meter 1', 'meter 1 (example)', '2026-03-01 11:01:00+00', 'no reply');
SELECT pg_catalog.setval('public.mail_lines_id_seq', 1, true);
ALTER TABLE ONLY public.emm_alembic_version
    ADD CONSTRAINT emm_alembic_version_pkc PRIMARY KEY (version_num);
ALTER TABLE ONLY public.energy_meters
    ADD CONSTRAINT energy_meters_pkey PRIMARY KEY (id);
ALTER TABLE ONLY public.installed_types
    ADD CONSTRAINT installed_types_pkey PRIMARY KEY (type);
ALTER TABLE ONLY public.mail_lines
    ADD CONSTRAINT mail_lines_pkey PRIMARY KEY (id);
ALTER TABLE ONLY public.meter_status
    ADD CONSTRAINT meter_status_pkey PRIMARY KEY (id);
ALTER TABLE ONLY public.meter_types
    ADD CONSTRAINT meter_types_pkey PRIMARY KEY (type);
ALTER TABLE ONLY public.model_addresses
    ADD CONSTRAINT model_addresses_pkey PRIMARY KEY (meter_id);
ALTER TABLE ONLY public.refused_registers
    ADD CONSTRAINT refused_registers_pkey PRIMARY KEY (meter_id, function_code, register_address, count);
ALTER TABLE ONLY public.troubles
    ADD CONSTRAINT troubles_pkey PRIMARY KEY (subject);
CREATE UNIQUE INDEX emm_poll_meter ON public.emm_poll USING btree (id, "time");
CREATE UNIQUE INDEX readings_series ON public.readings USING btree (id, measurement, COALESCE(unit, ''::text), "time");
