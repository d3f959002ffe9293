-- Keys and ids are bytes. A record is what MarshalBinary writes: JSON, as bytes. Times are whole numbers since
-- 1970 in UTC: milliseconds (_ms) or microseconds (_us).

CREATE TABLE usher_clients (
	id     bytea NOT NULL PRIMARY KEY,
	record bytea NOT NULL
);

CREATE TABLE usher_codes (
	hash       bytea  NOT NULL PRIMARY KEY,
	record     bytea  NOT NULL,
	client_id  bytea  NOT NULL,
	subject    bytea  NOT NULL,
	issued_ms  bigint NOT NULL,
	expires_ms bigint NOT NULL,
	used_ms    bigint
);

CREATE INDEX usher_codes_expires ON usher_codes (expires_ms);

-- Subjects and ids of any length are found by their SHA-256.
CREATE TABLE usher_consents (
	subject_hash bytea  NOT NULL,
	client_hash  bytea  NOT NULL,
	record       bytea  NOT NULL,
	granted_ms   bigint NOT NULL,
	PRIMARY KEY (subject_hash, client_hash)
);

-- pending is 1 while the second factor is missing. Each subject has a limit for each kind.
CREATE TABLE usher_sessions (
	id           bytea    NOT NULL PRIMARY KEY,
	record       bytea    NOT NULL,
	subject_hash bytea    NOT NULL,
	pending      smallint NOT NULL,
	last_seen_us bigint   NOT NULL,
	expires_us   bigint   NOT NULL
);

CREATE INDEX usher_sessions_subject ON usher_sessions (subject_hash, pending, expires_us);
CREATE INDEX usher_sessions_expires ON usher_sessions (expires_us);

-- Which of these files have been run. Migrate makes the table too.
CREATE TABLE IF NOT EXISTS usher_schema (version INTEGER NOT NULL PRIMARY KEY);

INSERT INTO usher_schema (version) VALUES (1);
