/** The client that is built in for the API documentation, while it is served (oauth.md, section 3, rule 3). */
export const DOCS_CLIENT = 'latchkey-docs'
