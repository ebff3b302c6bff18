import { runJobsNow } from '../../server/jobs.ts'
import { defineCommand } from '../command.ts'

/** `latchkey jobs run` */
export const commands = {
  'jobs run': defineCommand({
    kind: 'service',
    details: `
Deletes what is outdated, rotates the signing key where that is due, tells owners of keys that expire, and sends the mails
that are due. A server does all of this by itself, at its start and every hour.`,
    async run(context, _args, _input, _tell, { database }) {
      await runJobsNow(context, database)
      return { done: true }
    },
    show: () => 'Done.',
  }),
}
