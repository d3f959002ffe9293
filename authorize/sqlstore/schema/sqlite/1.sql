-- Keys and ids are bytes. A record is what MarshalBinary writes: JSON, as bytes. Times are whole numbers since
-- 1970 in UTC: milliseconds (_ms) or microseconds (_us).

CREATE TABLE usher_clients (
	id     BLOB NOT NULL PRIMARY KEY,
	record BLOB NOT NULL
);

CREATE TABLE usher_codes (
	hash       BLOB    NOT NULL PRIMARY KEY,
	record     BLOB    NOT NULL,
	client_id  BLOB    NOT NULL,
	subject    BLOB    NOT NULL,
	issued_ms  INTEGER NOT NULL,
	expires_ms INTEGER NOT NULL,
	used_ms    INTEGER
);

CREATE INDEX usher_codes_expires ON usher_codes (expires_ms);

-- Subjects and ids of any length are found by their SHA-256.
CREATE TABLE usher_consents (
	subject_hash BLOB    NOT NULL,
	client_hash  BLOB    NOT NULL,
	record       BLOB    NOT NULL,
	granted_ms   INTEGER NOT NULL,
	PRIMARY KEY (subject_hash, client_hash)
);

-- pending is 1 while the second factor is missing. Each subject has a limit for each kind.
CREATE TABLE usher_sessions (
	id           BLOB    NOT NULL PRIMARY KEY,
	record       BLOB    NOT NULL,
	subject_hash BLOB    NOT NULL,
	pending      INTEGER NOT NULL,
	last_seen_us INTEGER NOT NULL,
	expires_us   INTEGER NOT NULL
);

CREATE INDEX usher_sessions_subject ON usher_sessions (subject_hash, pending, expires_us);
CREATE INDEX usher_sessions_expires ON usher_sessions (expires_us);

-- Which of these files have been run. Migrate makes the table too.
CREATE TABLE IF NOT EXISTS usher_schema (version INTEGER NOT NULL PRIMARY KEY);

INSERT INTO usher_schema (version) VALUES (1);
