-- a registry as versions of headrace before schema versions made it
CREATE TABLE builds (
	table_name TEXT NOT NULL,
	partition TEXT NOT NULL,
	snapshot_id BIGINT NOT NULL,
	inputs TEXT NOT NULL,
	code TEXT NOT NULL,
	watermarks TEXT NOT NULL,
	PRIMARY KEY (table_name, partition)
);
INSERT INTO "builds" VALUES('features.f','["2024-05-01"]',4,'{"raw.a": 2}','c','{"raw.a": 7}');
CREATE TABLE commit_origins (
	table_name TEXT NOT NULL,
	origin TEXT NOT NULL,
	snapshot_id BIGINT NOT NULL,
	PRIMARY KEY (table_name, origin, snapshot_id)
);
INSERT INTO "commit_origins" VALUES('raw.a','snapshot 9',3);
INSERT INTO "commit_origins" VALUES('raw.a','audit x',3);
CREATE TABLE commits (
	table_name TEXT NOT NULL,
	snapshot_id BIGINT NOT NULL,
	parent_id BIGINT,
	sequence_number BIGINT NOT NULL,
	committed_at_ms BIGINT NOT NULL,
	operation TEXT NOT NULL,
	partitions TEXT NOT NULL,
	inputs TEXT NOT NULL,
	code TEXT NOT NULL,
	run_id TEXT NOT NULL,
	files_added BIGINT NOT NULL,
	files_removed BIGINT NOT NULL,
	rows_added BIGINT NOT NULL,
	rows_removed BIGINT NOT NULL,
	PRIMARY KEY (table_name, snapshot_id)
);
INSERT INTO "commits" VALUES('raw.a',1,NULL,1,10,'append','["[\"2024-05-01\"]"]','{}','','',0,0,0,0);
INSERT INTO "commits" VALUES('raw.a',2,1,2,20,'append','[]','{}','','run''s',1,0,3,0);
INSERT INTO "commits" VALUES('raw.a',3,1,3,30,'append','[]','{}','','',0,0,0,0);
INSERT INTO "commits" VALUES('features.f',4,NULL,4,40,'append','[]','{"raw.a": 2}','','',0,0,0,0);
CREATE TABLE dataset_versions (
	name TEXT NOT NULL,
	version BIGINT NOT NULL,
	state TEXT NOT NULL,
	lockfile TEXT NOT NULL,
	PRIMARY KEY (name, version)
);
INSERT INTO "dataset_versions" VALUES('ctr',1,'published','{}');
CREATE TABLE leases (
	lease_id TEXT NOT NULL,
	table_name TEXT NOT NULL,
	snapshot_id BIGINT NOT NULL,
	holder TEXT NOT NULL,
	ends_at_ms BIGINT NOT NULL,
	PRIMARY KEY (lease_id)
);
INSERT INTO "leases" VALUES('l1','raw.a',1,'me',1000000000000000);
CREATE TABLE measures (
	table_name TEXT NOT NULL,
	name TEXT NOT NULL,
	value BIGINT NOT NULL,
	measured_at_ms BIGINT NOT NULL,
	PRIMARY KEY (table_name, name)
);
INSERT INTO "measures" VALUES('raw.a','orphan_bytes',10,1);
CREATE TABLE off_main (
	table_name TEXT NOT NULL,
	snapshot_id BIGINT NOT NULL,
	PRIMARY KEY (table_name, snapshot_id)
);
INSERT INTO "off_main" VALUES('raw.a',3);
CREATE TABLE property_moves (
	table_name TEXT NOT NULL,
	snapshot_id BIGINT NOT NULL,
	moves TEXT NOT NULL,
	PRIMARY KEY (table_name, snapshot_id)
);
INSERT INTO "property_moves" VALUES('raw.a',1,'{"headrace.offsets.s":[null,"{}"]}');
INSERT INTO "property_moves" VALUES('raw.a',3,'{"owner":["a","b"]}');
CREATE TABLE source_files (
	seal BIGINT NOT NULL,
	source TEXT NOT NULL,
	records BIGINT NOT NULL,
	bytes BIGINT NOT NULL,
	fingerprint TEXT NOT NULL,
	changed_ns BIGINT NOT NULL,
	inode BIGINT NOT NULL,
	PRIMARY KEY (seal, source)
);
INSERT INTO "source_files" VALUES(11,'a.csv',3,30,'f1',5,6);
INSERT INTO "source_files" VALUES(12,'b.csv',4,40,'f2',0,0);
CREATE TABLE source_seals (
	seal BIGINT NOT NULL,
	after_seal BIGINT,
	table_name TEXT NOT NULL,
	stream TEXT NOT NULL,
	sealed_at_ms BIGINT NOT NULL,
	PRIMARY KEY (seal)
);
INSERT INTO "source_seals" VALUES(11,NULL,'raw.a','clicks',100);
INSERT INTO "source_seals" VALUES(12,11,'raw.a','clicks',200);
CREATE TABLE writes (
	write_id TEXT NOT NULL,
	table_name TEXT NOT NULL,
	location TEXT NOT NULL,
	host TEXT NOT NULL,
	boot_id TEXT NOT NULL,
	pid BIGINT NOT NULL,
	process_start_ticks BIGINT NOT NULL,
	started_at_ms BIGINT NOT NULL,
	PRIMARY KEY (write_id)
);
INSERT INTO "writes" VALUES('00000000000000000000000000000000','raw.a','file:///x','h','b',1,1,1);
CREATE INDEX commits_by_time ON commits (table_name, sequence_number);
CREATE INDEX commit_origins_by_commit ON commit_origins (table_name, snapshot_id);
CREATE INDEX source_files_by_name ON source_files (source);
CREATE INDEX source_files_by_content ON source_files (fingerprint);
