/** A value of `Idempotency-Key`, for one thing to be done. */
export const newIdempotencyKey = (): string => [...crypto.getRandomValues(new Uint8Array(16))].join('-')
