import { version } from '../../package.json' with { type: 'json' }

/** What the program is called. */
export const NAME = 'latchkey'
/** The release. */
export const VERSION: string = version
