import { bundlePage } from './bundle.ts' with { type: 'macro' }

/** The console and the portal as they were when the binary was built. */
export const console = await bundlePage('console')
export const portal = await bundlePage('portal')
