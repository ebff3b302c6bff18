import { PUBLICATION, PUBLISHED, REPLICATION_ROLE } from '../../db/published.ts'
import { columnList, createRole, grantConnect, note, quoteName, run, type Script } from './script.ts'

/**
 * The SQL for the database of home: the publication with its columns, and the role by which regions copy them. It may run
 * again, as after an update that publishes more.
 * @param role the name of that role
 */
export function publicationScript(role = REPLICATION_ROLE): Script {
  const reader = quoteName(role)
  const lists = PUBLISHED.map(({ name, columns }) => `latchkey.${quoteName(name)} (${columnList(columns)})`)
  return {
    pieces: [
      note(
        `For the database of home, as a superuser, or as the owner of the tables who may make roles and publications.
The server needs wal_level = logical, and max_slot_wal_keep_size, for example 10GB.
Give the role a password afterwards. It is a secret: with it one can read every change of this database.`,
      ),
      ...run(createRole(role, 'LOGIN REPLICATION'), grantConnect(role)),
      note('The role reads the published columns and no others, so that a wrong copy fails.'),
      ...run(
        'BEGIN',
        `REVOKE ALL ON ALL TABLES IN SCHEMA latchkey FROM ${reader}`,
        `GRANT USAGE ON SCHEMA latchkey TO ${reader}`,
        ...PUBLISHED.map(
          ({ name, columns }) =>
            `GRANT SELECT (${columnList(columns)}) ON latchkey.${quoteName(name)} TO ${reader}`,
        ),
      ),
      note('One publication for all regions: a subscription takes one list of columns for each table.'),
      ...run(
        `DO $$ BEGIN
  IF NOT EXISTS (SELECT FROM pg_catalog.pg_publication WHERE pubname = '${PUBLICATION}') THEN
    CREATE PUBLICATION ${PUBLICATION};
  END IF;
END $$`,
        `ALTER PUBLICATION ${PUBLICATION} SET TABLE\n  ${lists.join(',\n  ')}`,
        `ALTER PUBLICATION ${PUBLICATION} SET (publish = 'insert, update, delete, truncate')`,
      ),
      note(
        'The row of the heartbeats. The servers of home update it each second, within ten seconds from now.',
      ),
      ...run(
        `INSERT INTO latchkey.heartbeats ("only", n, at, token, previous, timeline, server_version)
  VALUES (true, 0, clock_timestamp(), gen_random_uuid(), gen_random_uuid(),
    ('x' || substr(pg_walfile_name(pg_current_wal_lsn()), 1, 8))::bit(32)::int, current_setting('server_version_num')::int)
  ON CONFLICT ("only") DO NOTHING`,
        'COMMIT',
      ),
    ],
  }
}
