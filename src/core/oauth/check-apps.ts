import type { Config } from '../../config/config.ts'
import type { Database } from '../../db/database.ts'
import { countRegisteredClients } from '../clients/clients.ts'
import { identifierOf } from '../resources/audience.ts'
import { ownIdentifiers } from '../resources/identifier.ts'
import { countResources, findIdentifiers } from '../resources/resources.ts'
import { isAuthorizationServer } from './authorization-server.ts'

/**
 * Whether the settings of a server fit the apps and APIs that are registered.
 * @throws Error with one sentence: ALGORITHM=HS256 makes no tokens for them; where JWT_AUDIENCE or PUBLIC_URL is the
 * identifier of a registered API, that API would take the tokens of people for those of apps; and where JWT_AUDIENCE is the audience of
 * apps' tokens for Latchkey itself, services would do the reverse
 */
export async function requireFittingApps({ config, db }: { config: Config; db: Database }): Promise<void> {
  if (!isAuthorizationServer(config)) {
    const [clients, resources] = await Promise.all([countRegisteredClients(db), countResources(db)])
    if (clients + resources > 0)
      throw new Error(
        `ALGORITHM is HS256, with which there are no tokens for apps, but ${clients} clients and ${resources} resources are registered: set another ALGORITHM, or delete them with "latchkey clients delete" and "latchkey resources delete"`,
      )
    return
  }
  const ofApps = (['latchkey', 'userinfo'] as const).map((each) =>
    identifierOf(config, { audience: each, resource: null }),
  )
  if (ofApps.includes(config.jwtAudience))
    throw new Error(
      `JWT_AUDIENCE is ${config.jwtAudience}, for which apps get tokens, so that services would take these for tokens of people: set another JWT_AUDIENCE`,
    )
  const [taken] = await findIdentifiers(db, ownIdentifiers(config))
  if (taken === undefined) return
  const setting = taken === config.jwtAudience ? 'JWT_AUDIENCE' : 'PUBLIC_URL'
  throw new Error(
    `${setting} makes ${taken} an identifier of Latchkey's own, but a resource is registered under it: set another ${setting}, or delete it with "latchkey resources delete"`,
  )
}
