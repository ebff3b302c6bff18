/** The rows of resources, for the folders that make tokens for them. */
export { findResourceByIdentifier, type ResourceRow } from './queries.ts'
