import { version } from '../../package.json' with { type: 'json' }

/** The name of the program. */
export const NAME = 'latchkey'
/** The version of the release. */
export const VERSION: string = version
