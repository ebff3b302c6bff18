import { version } from '../../package.json' with { type: 'json' }

/** The version of the release. */
export const VERSION: string = version
