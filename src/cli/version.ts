/** The name of the program. */
export const NAME = 'latchkey'
