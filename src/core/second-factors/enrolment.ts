import type { Config } from '../../config/config.ts'
import type { Role } from '../../lib/model.ts'

/** Whether REQUIRE_MFA asks people of a role for a second factor. */
export const isFactorRequired = ({ requireMfa }: Pick<Config, 'requireMfa'>, role: Role): boolean =>
  requireMfa === 'all' || (requireMfa === 'admins' && role === 'admin')

/**
 * Whether a person has to set up a second factor before anything else is open to them.
 * @param user as their row has them, whatever a narrowed token says of the role
 */
export const isEnrolmentDue = (
  config: Pick<Config, 'requireMfa'>,
  user: { role: Role; hasSecondFactor: boolean },
): boolean => !user.hasSecondFactor && isFactorRequired(config, user.role)
