import { type Answer, call, newPerson, type Person } from './client.ts'
import type { TestService } from './service.ts'
import { totpAt } from './totp.ts'

/** Time steps of TOTP, of which a code is good for one each way. */
export const STEP_MS = 30_000

/** A person with an authenticator app. */
export type Enrolled = Person & { secret: string; recoveryCodes: string[] }

/** The code that the app of a secret shows now by the service's clock, or so many steps from now. */
export const codeOf = (at: TestService, secret: string, steps = 0): string =>
  totpAt(secret, at.context.clock() + steps * STEP_MS)

/** Waits for the next step where the present one ends within `ms`: the code of the step before stays good that long. */
export async function awaitTimeInStep(at: TestService, ms: number): Promise<void> {
  const leftMs = STEP_MS - (at.context.clock() % STEP_MS)
  if (leftMs < ms) await Bun.sleep(leftMs)
}

/** A code that the app shows neither now nor a step from now. */
export function wrongCodeOf(at: TestService, secret: string): string {
  const near = [-2, -1, 0, 1, 2].map((steps) => codeOf(at, secret, steps))
  return (
    ['000000', '111111', '222222', '333333', '444444', '555555'].find((code) => !near.includes(code)) ?? ''
  )
}

/** Sets up an authenticator app for somebody, with the code of the step before, so that the present one is still good. */
export async function enrolTotp(
  at: TestService,
  bearer: string,
): Promise<{ secret: string; recoveryCodes: string[] }> {
  const begun = await call(at, 'POST /auth/mfa/totp', { bearer })
  if (begun.status !== 201) throw new Error(`Beginning TOTP answered ${begun.status}: ${begun.text}`)
  const { secret } = begun.body
  const confirm = () =>
    call(at, 'POST /auth/mfa/totp/confirm', { bearer, json: { code: codeOf(at, secret, -1) } })
  const first = await confirm()
  // The next step may have begun since the code was made.
  const confirmed = first.status === 403 ? await confirm() : first
  if (confirmed.status !== 200)
    throw new Error(`Confirming TOTP answered ${confirmed.status}: ${confirmed.text}`)
  return { secret, recoveryCodes: confirmed.body.recovery_codes ?? [] }
}

/** Somebody with an authenticator app and one session. */
export async function newEnrolled(at: TestService): Promise<Enrolled> {
  const person = await newPerson(at)
  return { ...person, ...(await enrolTotp(at, person.access)) }
}

/** The first step of a log-in. */
export const firstStep = (
  at: TestService,
  { email, password }: Pick<Person, 'email' | 'password'>,
): Promise<Answer> => call(at, 'POST /auth/login', { json: { email, password } })

/** The `mfa_token` of a log-in. */
export async function beginLogIn(
  at: TestService,
  person: Pick<Person, 'email' | 'password'>,
): Promise<string> {
  const answer = await firstStep(at, person)
  if (answer.body?.code !== 'mfa_required')
    throw new Error(`The first step answered ${answer.status}: ${answer.text}`)
  return answer.body.mfa_token
}

/** The second step of a log-in. */
export const secondStep = (
  at: TestService,
  mfa_token: string,
  proof: Record<string, unknown>,
): Promise<Answer> => call(at, 'POST /auth/login/mfa', { json: { mfa_token, ...proof } })
