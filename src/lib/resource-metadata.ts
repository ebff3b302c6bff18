/**
 * Where the metadata of a resource are (RFC 9728, section 3.1): the well-known path goes between the host and the path of
 * the identifier, which is left as it is written otherwise.
 */
export function metadataUrlOf(identifier: string): string {
  const [, origin = '', rest = ''] = /^(https?:\/\/[^/?]*)([\s\S]*)$/.exec(identifier) ?? []
  // A slash that is the whole path is left out.
  const path = rest.startsWith('/?') || rest === '/' ? rest.slice(1) : rest
  return `${origin}/.well-known/oauth-protected-resource${path}`
}

/** A value between quotation marks in a header. What may not stand there is percent-encoded. */
const quote = (text: string) =>
  `"${text.replace(/[^!#-[\]-~]+/g, (part) => encodeURIComponent(part.toWellFormed()))}"`

/**
 * The parameters of a challenge by which a client finds out where to get a token, and for which scopes.
 * @param scopes all that are needed; none: the parameter is left out
 */
export const challengeOfResource = (identifier: string, scopes: readonly string[]): string =>
  `resource_metadata=${quote(metadataUrlOf(identifier))}${scopes.length === 0 ? '' : `, scope="${scopes.join(' ')}"`}`
