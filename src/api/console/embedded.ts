import { bundleConsole } from './bundle.ts' with { type: 'macro' }

/** The console as it was when the binary was built. */
export const bundle = await bundleConsole()
