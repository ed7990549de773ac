create catalog p with ('type'='paimon','warehouse'='file://%WAREHOUSE%');
use catalog p;
create database k;

create table k.users (id bigint not null, name string, score decimal(10,2), seq bigint, ts timestamp_ltz(6), tags array<string>, primary key (id) not enforced)
with ('merge-engine'='deduplicate','sequence.field'='seq','changelog-producer'='lookup','bucket'='2');
insert into k.users values (1,'a',1.50,1,to_timestamp_ltz(1767225601000,3),array['x']),(2,'b',2.50,1,to_timestamp_ltz(1767225602000,3),array['y']);
insert into k.users values (1,'a2',1.75,2,to_timestamp_ltz(1767225603000,3),array['x','z']),(3,'c',cast(null as decimal(10,2)),1,to_timestamp_ltz(1767225604000,3),cast(null as array<string>));
delete from k.users where id = 2;
insert into k.users values (1,'old',0.00,1,to_timestamp_ltz(1767225600000,3),array['q']),(4,'d',4.00,1,cast(null as timestamp_ltz(6)),cast(null as array<string>));
call sys.create_tag('k.users','two',4);
-- expect users@2
select * from k.users /*+ OPTIONS('scan.snapshot-id'='2') */;
-- expect users@4
select * from k.users /*+ OPTIONS('scan.snapshot-id'='4') */;
-- expect users@head
select * from k.users;
-- expect users#changes
select * from k.`users$audit_log` /*+ OPTIONS('incremental-between'='0,8') */;

create table k.latest (id bigint not null, v string, n int, primary key (id) not enforced) with ('bucket'='1','file.format'='orc');
insert into k.latest values (1,'x',1),(2,'y',2);
insert into k.latest values (1,'x2',3);
delete from k.latest where id = 2;
-- expect latest@2
select * from k.latest /*+ OPTIONS('scan.snapshot-id'='2') */;
-- expect latest@head
select * from k.latest;
-- expect latest#changes
select * from k.`latest$audit_log` /*+ OPTIONS('incremental-between'='0,3') */;

create table k.firsts (id bigint not null, v string, primary key (id) not enforced) with ('merge-engine'='first-row','changelog-producer'='lookup','bucket'='1');
insert into k.firsts values (1,'first'),(2,'one');
insert into k.firsts values (1,'second'),(3,'three');
-- expect firsts@head
select * from k.firsts;
-- expect firsts#changes
select * from k.`firsts$audit_log` /*+ OPTIONS('incremental-between'='0,4') */;

create table k.parts (id bigint not null, a string, b bigint, primary key (id) not enforced) with ('merge-engine'='partial-update','changelog-producer'='lookup','bucket'='1');
insert into k.parts values (1,'a',cast(null as bigint)),(2,'z',9);
insert into k.parts values (1,cast(null as string),7),(2,'zz',cast(null as bigint));
-- expect parts@head
select * from k.parts;
-- expect parts#changes
select * from k.`parts$audit_log` /*+ OPTIONS('incremental-between'='0,4') */;

create table k.sums (id bigint not null, total_of bigint, most_of double, least_of int, latest_of string, primary key (id) not enforced)
with ('merge-engine'='aggregation','fields.total_of.aggregate-function'='sum','fields.most_of.aggregate-function'='max','fields.least_of.aggregate-function'='min','fields.latest_of.aggregate-function'='last_non_null_value','changelog-producer'='full-compaction','full-compaction.delta-commits'='1','bucket'='1');
insert into k.sums values (1,10,1.5,5,'u'),(2,1,0.0,0,cast(null as string));
insert into k.sums values (1,5,0.5,7,cast(null as string)),(1,2,9.5,6,'w');
-- expect sums@head
select * from k.sums;
-- expect sums#changes
select * from k.`sums$audit_log` /*+ OPTIONS('incremental-between'='0,4') */;

create table k.clicks (id bigint, item int, v string, dt string) partitioned by (dt) with ('bucket'='-1');
insert into k.clicks values (1,10,'x','2026-01-01'),(2,20,'y','2026-01-02');
insert into k.clicks values (3,30,'z','2026-01-02');
alter table k.clicks add w double;
insert into k.clicks values (4,40,'zz','2026-01-03',2.5);
-- expect clicks@2
select * from k.clicks /*+ OPTIONS('scan.snapshot-id'='2') */;
-- expect clicks@head
select * from k.clicks;

create table k.kinds (b boolean, i8 tinyint, i16 smallint, i32 int, i64 bigint, f float, d double, n decimal(20,4), c char(3), s string, bin bytes, dt date, t3 timestamp(3), t6 timestamp(6), z3 timestamp_ltz(3), z6 timestamp_ltz(6), a array<bigint>) with ('bucket'='-1','file.format'='parquet');
insert into k.kinds values (true,cast(1 as tinyint),cast(2 as smallint),3,4,cast(1.5 as float),2.25,123.4567,'abc','é',x'00ff',date '2026-01-31',timestamp '2026-01-01 00:00:00.123',timestamp '2026-01-01 00:00:00.123456',to_timestamp_ltz(1767225600123,3),to_timestamp_ltz(1767225600456,3),array[cast(1 as bigint),cast(null as bigint)]);
-- expect kinds@head
select * from k.kinds;

create table k.grouped (id bigint not null, a string, g bigint, primary key (id) not enforced) with ('merge-engine'='partial-update','fields.g.sequence-group'='a','bucket'='1');
insert into k.grouped values (1,'a',1);
create table k.vectors (id bigint not null, v string, primary key (id) not enforced) with ('deletion-vectors.enabled'='true','bucket'='1');
insert into k.vectors values (1,'a');
create table k.replaced (id bigint, v string) with ('bucket'='-1');
insert into k.replaced values (1,'a');
insert overwrite k.replaced values (2,'b');
create table k.short (id bigint not null, v string, primary key (id) not enforced) with ('bucket'='1','changelog-producer'='lookup');
insert into k.short values (1,'a');
insert into k.short values (2,'b');
insert into k.short values (1,'c');
call sys.expire_snapshots(`table` => 'k.short', retain_max => 2, retain_min => 1, older_than => '2099-01-01 00:00:00');
-- expect short@head
select * from k.short;
