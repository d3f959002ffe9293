-- Keys and ids are bytes. A record is what MarshalBinary writes: JSON, as bytes. Times are whole numbers since
-- 1970 in UTC: milliseconds (_ms) or microseconds (_us). Existing tables are left as they
-- are, because this database commits after every statement.

CREATE TABLE IF NOT EXISTS usher_clients (
	id     VARBINARY(2048) NOT NULL PRIMARY KEY,
	record MEDIUMBLOB      NOT NULL
) ENGINE=InnoDB ROW_FORMAT=DYNAMIC;

CREATE TABLE IF NOT EXISTS usher_codes (
	hash       VARBINARY(255) NOT NULL PRIMARY KEY,
	record     MEDIUMBLOB     NOT NULL,
	client_id  MEDIUMBLOB     NOT NULL,
	subject    MEDIUMBLOB     NOT NULL,
	issued_ms  BIGINT         NOT NULL,
	expires_ms BIGINT         NOT NULL,
	used_ms    BIGINT,
	INDEX usher_codes_expires (expires_ms)
) ENGINE=InnoDB ROW_FORMAT=DYNAMIC;

-- Subjects and ids of any length are found by their SHA-256.
CREATE TABLE IF NOT EXISTS usher_consents (
	subject_hash BINARY(32) NOT NULL,
	client_hash  BINARY(32) NOT NULL,
	record       MEDIUMBLOB NOT NULL,
	granted_ms   BIGINT     NOT NULL,
	PRIMARY KEY (subject_hash, client_hash)
) ENGINE=InnoDB ROW_FORMAT=DYNAMIC;

-- pending is 1 while the second factor is missing. Each subject has a limit for each kind.
CREATE TABLE IF NOT EXISTS usher_sessions (
	id           VARBINARY(255) NOT NULL PRIMARY KEY,
	record       MEDIUMBLOB     NOT NULL,
	subject_hash BINARY(32)     NOT NULL,
	pending      TINYINT        NOT NULL,
	last_seen_us BIGINT         NOT NULL,
	expires_us   BIGINT         NOT NULL,
	INDEX usher_sessions_subject (subject_hash, pending, expires_us),
	INDEX usher_sessions_expires (expires_us)
) ENGINE=InnoDB ROW_FORMAT=DYNAMIC;

-- Which of these files have been run. Migrate makes the table too.
CREATE TABLE IF NOT EXISTS usher_schema (version INTEGER NOT NULL PRIMARY KEY) ENGINE=InnoDB ROW_FORMAT=DYNAMIC;

INSERT INTO usher_schema (version) VALUES (1);
