import { useState } from 'react'
import { useLocation } from 'wouter'
import { AppFields, appFieldsIn } from '../components/app-fields.tsx'
import { Form, textIn } from '../components/form.tsx'
import { Card, Page } from '../components/page.tsx'
import { ShownOnce } from '../components/shown-once.tsx'
import { ask, useChange } from '../lib/api.ts'
import type { AppWithSecret, NewAppInput } from '../lib/types.ts'
import { texts } from '../texts.ts'

const { apps: words } = texts

/** Registers an app. A confidential app gets a secret, which is shown once. */
export function NewAppPage() {
  const [, navigate] = useLocation()
  const [made, setMade] = useState<AppWithSecret | null>(null)
  const change = useChange((input: NewAppInput) => ask((api) => api.oauth.clients.post(input)), {
    onDone: (app) => (app.secret === undefined ? navigate(`/apps/${app.id}`) : setMade(app)),
  })
  if (made) return <AppSecret made={made} onDone={() => navigate(`/apps/${made.id}`)} />
  const submit = (fields: FormData) => {
    const keys = textIn(fields, 'jwks_uri')
    change.mutate({
      ...appFieldsIn(fields),
      kind: fields.get('kind') === 'confidential' ? 'confidential' : 'public',
      ...(keys !== undefined && { jwks_uri: keys }),
    })
  }
  return (
    <Page title={words.new}>
      <Card>
        <Form
          button={texts.actions.create}
          isPending={change.isPending}
          error={change.error}
          onSubmit={submit}
        >
          <AppFields />
        </Form>
      </Card>
    </Page>
  )
}

/** A secret of an app, this once. */
export const AppSecret = ({ made, onDone }: { made: AppWithSecret; onDone(): void }) => (
  <ShownOnce
    words={words.secret}
    parts={[
      [words.secret.whole, made.secret ?? ''],
      [texts.secret.dotenv, `CLIENT_ID=${made.client_id}\nCLIENT_SECRET=${made.secret}`],
    ]}
    onDone={onDone}
  />
)
