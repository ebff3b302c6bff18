import { PUBLISHED } from '../../db/published.ts'
import { COPYING } from '../../db/region-schema.ts'
import { note, quoteName, quoteText, run, type Script } from './script.ts'
import { createSubscription, type SubscriptionOptions, subscriptionName } from './subscription.ts'

/** How long the copy of all tables may take before the script gives up. The mark of the break stays then. */
const COPY_HOURS = 12

/**
 * The SQL by which a region copies all tables again, after its copy may have missed a change. Verifiers answer 503 `stale` from
 * its first statement to its last.
 * @param existing the subscriptions that copy Latchkey's tables now
 */
export function resyncScript(options: SubscriptionOptions, existing: readonly string[]): Script {
  const slots = existing.map((name) => quoteText(name)).join(', ')
  return {
    pieces: [
      note(
        `For the database of the region, as the role that made the subscription. Verifiers answer 503 "stale" meanwhile.
The copy is marked first, so that no verifier answers from half of it.`,
      ),
      ...run(
        `INSERT INTO latchkey.region_state ("only", broken_at, reason) VALUES (true, clock_timestamp(), 'resync')
  ON CONFLICT ("only") DO UPDATE SET reason = 'resync'`,
      ),
      note('The subscription ends, without a word to home: its slot there may be gone.'),
      ...existing.flatMap((name) =>
        run(
          `ALTER SUBSCRIPTION ${quoteName(name)} DISABLE`,
          `ALTER SUBSCRIPTION ${quoteName(name)} SET (slot_name = NONE)`,
          `DROP SUBSCRIPTION ${quoteName(name)}`,
        ),
      ),
      ...(slots === ''
        ? []
        : [
            note(
              `At home, now, remove what is left of the old slot:
SELECT pg_drop_replication_slot(slot_name) FROM pg_replication_slots WHERE slot_name IN (${slots});`,
            ),
          ]),
      note('The tables are emptied, and copied again.'),
      ...run(
        'BEGIN',
        `SET LOCAL ${COPYING} = 'on'`,
        `TRUNCATE ${PUBLISHED.map(({ name }) => `latchkey.${quoteName(name)}`).join(', ')}`,
        'COMMIT',
        createSubscription(options),
      ),
      note(
        'Waits until every table is copied and the next heartbeat has arrived. Then verifiers answer again.',
      ),
      ...run(finish(subscriptionName(options.name))),
    ],
  }
}

/** A break that came while the tables were copied has another reason, and stays. */
const finish = (subscription: string): string => `DO $$
DECLARE
  first bigint;
BEGIN
  FOR second IN 1 .. ${COPY_HOURS * 3600 * 5} LOOP
    IF first IS NULL AND NOT EXISTS (SELECT FROM pg_catalog.pg_subscription_rel r JOIN pg_catalog.pg_subscription s ON s.oid = r.srsubid
        WHERE s.subname = ${quoteText(subscription)} AND r.srsubstate <> 'r') THEN
      SELECT n INTO first FROM latchkey.heartbeats;
    END IF;
    EXIT WHEN first IS NOT NULL AND EXISTS (SELECT FROM latchkey.heartbeats WHERE n > first);
    PERFORM pg_sleep(0.2);
  END LOOP;
  IF first IS NULL OR NOT EXISTS (SELECT FROM latchkey.heartbeats WHERE n > first) THEN
    RAISE EXCEPTION 'the copy is not whole yet, or home sends no heartbeats';
  END IF;
  DELETE FROM latchkey.region_state WHERE reason = 'resync';
  IF EXISTS (SELECT FROM latchkey.region_state) THEN
    RAISE EXCEPTION 'the copy broke again while it was made: run all of this again';
  END IF;
END $$`
