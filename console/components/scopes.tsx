import { useState } from 'react'
import { isAdmin, useMe } from '../lib/me.ts'
import { texts } from '../texts.ts'
import { Check, Field } from './field.tsx'

/** Every user may grant these two. */
const FOR_ALL = ['latchkey:keys.read', 'latchkey:keys.write']

/**
 * Scopes to choose: those that the person has, beside those that the key has already. An admin, whose scopes have no
 * bound, types others.
 */
export function ScopeChoice({ chosen, offered }: { chosen: readonly string[]; offered?: readonly string[] }) {
  const me = useMe()
  const own = offered ?? [...(me?.scopes ?? []), ...FOR_ALL]
  const all = [...new Set([...own, ...chosen])]
  const [others, setOthers] = useState('')
  return (
    <fieldset className="choice">
      <legend>{texts.keys.scopes}</legend>
      {all.map((scope) => (
        <Check key={scope} label={scope} name="scope" value={scope} defaultChecked={chosen.includes(scope)} />
      ))}
      {isAdmin(me) && (
        <Field
          label={texts.keys.otherScopes}
          hint={texts.keys.otherScopesHint}
          name="other-scopes"
          path="/scopes"
          value={others}
          onChange={({ target }) => setOthers(target.value)}
          autoComplete="off"
          spellCheck={false}
        />
      )}
    </fieldset>
  )
}

/** The scopes that a form names. */
export function scopesIn(fields: FormData): string[] {
  const typed = String(fields.get('other-scopes') ?? '').split(/[\s,]+/)
  return [...new Set([...fields.getAll('scope').map(String), ...typed])].filter((scope) => scope !== '')
}
