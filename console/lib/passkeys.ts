import { texts } from '../texts.ts'
import { Refusal } from './refusal.ts'

type CreationOptions = Parameters<typeof PublicKeyCredential.parseCreationOptionsFromJSON>[0]
type RequestOptions = Parameters<typeof PublicKeyCredential.parseRequestOptionsFromJSON>[0]

/** Whether this browser has passkeys. */
export const HAS_PASSKEYS =
  typeof PublicKeyCredential !== 'undefined' && 'parseRequestOptionsFromJSON' in PublicKeyCredential

/** Makes a passkey, as the API asks for one. Gives what the API takes. */
export const makePasskey = (options: unknown) =>
  answered(
    navigator.credentials.create({
      publicKey: PublicKeyCredential.parseCreationOptionsFromJSON(options as CreationOptions),
    }),
  )

/** Proves by a passkey that the person is here. Gives what the API takes. */
export const askPasskey = (options: unknown) =>
  answered(
    navigator.credentials.get({
      publicKey: PublicKeyCredential.parseRequestOptionsFromJSON(options as RequestOptions),
    }),
  )

async function answered(asked: Promise<Credential | null>) {
  const credential = await asked.catch(() => null)
  if (credential instanceof PublicKeyCredential) return credential.toJSON()
  throw new Refusal(0, 'cancelled', texts.factors.noPasskey)
}
