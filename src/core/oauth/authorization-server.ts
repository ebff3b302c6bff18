import type { Config } from '../../config/config.ts'
import { fail } from '../../lib/errors.ts'

/** Whether Latchkey makes tokens for apps. With ALGORITHM=HS256 it does not: the key that verifies would also sign. */
export const isAuthorizationServer = ({ algorithm }: Pick<Config, 'algorithm'>): boolean =>
  algorithm !== 'HS256'

/** @throws Problem conflict with ALGORITHM=HS256 */
export function requireAuthorizationServer({ config }: { config: Pick<Config, 'algorithm'> }): void {
  if (!isAuthorizationServer(config))
    fail('conflict', {
      detail: 'With ALGORITHM=HS256 there are no tokens for apps, so there is nothing to register.',
    })
}
