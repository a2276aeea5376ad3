import type { Migration } from './migrate';

/**
 * The registry's tables. Definitions and answers are `json`, never jsonb, because their text and the order of their
 * members are kept. Names are compared by bytes (COLLATE "C"), so that pages and cursors agree with JavaScript.
 */
export const registry: Migration = {
  number: 1,
  name: 'registry',
  sql: `
CREATE SCHEMA features; -- one table a view version: the newest row of each entity
CREATE SCHEMA trash;    -- removed tables rest here as <table>_<registry version> for 7 days

-- One row. Whoever changes the registry locks it (FOR UPDATE) first; every read and write compares registry_version
-- with the one its plan was made for. The lake columns say which lake belongs to this store; null until one is made.
CREATE TABLE registry.head (
  one boolean PRIMARY KEY DEFAULT true CHECK (one),
  registry_version bigint NOT NULL DEFAULT 0,
  change_position bigint NOT NULL DEFAULT 0,
  lake_id text,
  lake_catalog text,
  lake_data_path text
);
INSERT INTO registry.head DEFAULT VALUES;

CREATE TABLE registry.entities (
  name text COLLATE "C" PRIMARY KEY,
  definition json NOT NULL -- EntityDefinition
);

CREATE TABLE registry.views (
  name text COLLATE "C" PRIMARY KEY,
  current_version integer NOT NULL CHECK (current_version > 0)
);

CREATE TABLE registry.view_versions (
  view text COLLATE "C" NOT NULL REFERENCES registry.views (name) ON DELETE CASCADE,
  version integer NOT NULL CHECK (version > 0),
  definition json NOT NULL,        -- ViewDefinition
  entity_definition json NOT NULL, -- EntityDefinition as it is for this version
  PRIMARY KEY (view, version)
);

-- A removed version's number is not given again: its history and training sets may still name it.
CREATE TABLE registry.retired_views (
  view text COLLATE "C" PRIMARY KEY,
  last_version integer NOT NULL
);

CREATE TABLE registry.services (
  name text COLLATE "C" PRIMARY KEY,
  definition json NOT NULL, -- ServiceDefinition as written
  resolved json NOT NULL    -- [{view, version, feature}], in its order: the versions it keeps
);

-- The change log, in commit order because it is appended under the head's lock. position has no gaps.
CREATE TABLE registry.changes (
  position bigint PRIMARY KEY,
  registry_version bigint NOT NULL,
  data json NOT NULL, -- ChangeEvent
  at timestamptz NOT NULL DEFAULT clock_timestamp()
);

-- What each plan hash was answered, so that a publish whose answer was lost can be sent again.
CREATE TABLE registry.applied_plans (
  plan_hash text PRIMARY KEY,
  registry_version bigint NOT NULL,
  answer json NOT NULL, -- PublishAnswer
  applied_at timestamptz NOT NULL DEFAULT clock_timestamp()
);

CREATE TABLE registry.audit (
  id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  at timestamptz NOT NULL DEFAULT clock_timestamp(),
  session_user_name text NOT NULL DEFAULT session_user,
  what json NOT NULL,
  origin text NOT NULL -- which gateway and client
);
CREATE FUNCTION registry.refuse_change() RETURNS trigger LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
BEGIN
  RAISE EXCEPTION 'the audit log is append-only' USING ERRCODE = 'insufficient_privilege';
END $$;
CREATE TRIGGER append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON registry.audit
  FOR EACH STATEMENT EXECUTE FUNCTION registry.refuse_change();

-- One number a chunk of written rows, drawn in the statement that writes it: write_seq = batch * 2^20 + position.
CREATE SEQUENCE registry.batch_seq AS bigint MAXVALUE 8796093022207 NO CYCLE;

-- What has reached history; updated in the transaction that deletes the drained outbox rows. Freshness of a view is
-- this and what stands in the outbox.
CREATE TABLE registry.view_state (
  view text COLLATE "C" NOT NULL,
  version integer NOT NULL,
  rows bigint NOT NULL DEFAULT 0,
  newest_event timestamptz,
  snapshot bigint, -- the lake's snapshot after the last drain
  PRIMARY KEY (view, version)
);

-- Written rows on their way to history: one gzip NDJSON chunk a row, written in the transaction of the online upsert.
CREATE TABLE registry.outbox (
  batch bigint PRIMARY KEY,
  view text COLLATE "C" NOT NULL,
  version integer NOT NULL,
  columns json NOT NULL,       -- names, in the order of a line's cells
  row_count integer NOT NULL CHECK (row_count BETWEEN 1 AND 1048576),
  newest_event timestamptz NOT NULL,
  clock timestamptz NOT NULL,  -- the created_timestamp of rows that brought none
  body bytea NOT NULL,         -- at most 16 MB
  written_at timestamptz NOT NULL DEFAULT clock_timestamp(),
  gateway text NOT NULL        -- who wrote it
) WITH (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 500);
ALTER TABLE registry.outbox ALTER COLUMN body SET STORAGE EXTERNAL; -- is compressed already
CREATE INDEX outbox_by_view ON registry.outbox (view, version, batch);

-- Who may write to the lake. epoch grows with each new holder; the lake keeps it too, so that a stale holder conflicts.
CREATE TABLE registry.drain_lease (
  one boolean PRIMARY KEY DEFAULT true CHECK (one),
  holder text,
  epoch bigint NOT NULL DEFAULT 0,
  expires timestamptz NOT NULL DEFAULT '-infinity',
  url text
);
INSERT INTO registry.drain_lease DEFAULT VALUES;

CREATE TABLE registry.datasets (
  name text COLLATE "C" NOT NULL,
  version integer NOT NULL CHECK (version > 0),
  rows bigint NOT NULL,
  sha256 text NOT NULL,    -- of the rows' content
  mode text NOT NULL CHECK (mode IN ('replace', 'append')),
  snapshot bigint NOT NULL,
  columns json NOT NULL,   -- Column[]
  files json NOT NULL,     -- StoredFile[]
  created_at timestamptz NOT NULL DEFAULT clock_timestamp(),
  PRIMARY KEY (name, version)
);

CREATE TABLE registry.training_sets (
  name text COLLATE "C" NOT NULL,
  version integer NOT NULL CHECK (version > 0),
  id text NOT NULL,
  info json NOT NULL,      -- TrainingSetInfo
  features json NOT NULL,  -- [{view, version, feature}]: what the guard of removals asks
  created_at timestamptz NOT NULL DEFAULT clock_timestamp(),
  PRIMARY KEY (name, version),
  UNIQUE (name, id)
);

CREATE TABLE registry.jobs (
  id text PRIMARY KEY,
  kind text NOT NULL,
  state text NOT NULL,
  gateway text NOT NULL,   -- the one that runs it
  info json NOT NULL,      -- JobInfo
  created_at timestamptz NOT NULL DEFAULT clock_timestamp(),
  updated_at timestamptz NOT NULL DEFAULT clock_timestamp()
);
CREATE INDEX jobs_newest_first ON registry.jobs (created_at DESC, id);

-- Answers kept for 24 hours, written in the transaction of the work itself. Refusals are not stored.
CREATE TABLE registry.idempotency (
  caller text NOT NULL,
  route text NOT NULL,     -- method and concrete path with its query
  key text NOT NULL,
  request_hash text NOT NULL,
  status integer NOT NULL,
  answer json NOT NULL,
  created_at timestamptz NOT NULL DEFAULT clock_timestamp(),
  expires timestamptz NOT NULL,
  PRIMARY KEY (caller, route, key)
);
CREATE INDEX idempotency_expires ON registry.idempotency (expires);
`,
};
