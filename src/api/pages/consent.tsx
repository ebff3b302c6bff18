/** @jsxImportSource hono/jsx */
import type { AskedView, ConsentView, ShownScope } from '../../core/authorization/describe-request.ts'
import { Links, Page, Refusal, type Site } from './components.tsx'
import type { Fields } from './forms.ts'

const SOURCES = {
  registered: 'Registered by an administrator of this service.',
  metadata: 'It describes itself, by a document at its own address. Nobody here has checked it.',
  dynamic: 'It registered itself. Nobody here has checked it.',
} as const

/** `/oauth/authorize`, where a person is asked */
export function ConsentPage({
  site,
  view,
  refusal,
}: {
  site: Site
  view: ConsentView
  refusal: string | null
}) {
  const { client, redirect, resource } = view
  return (
    <Page site={site} title={`Allow ${client.name}?`}>
      <Refusal sentence={refusal} />
      <p>
        <strong>{client.name}</strong>
        {client.host !== null && (
          <>
            {' '}
            from <strong>{client.host}</strong>
          </>
        )}{' '}
        asks to act for you, <strong>{view.email}</strong>.
      </p>
      <dl class="facts">
        <dt>For</dt>
        <dd>
          {resource.name}
          <br />
          <span class="hint">{resource.identifier}</span>
        </dd>
        <dt>Goes back to</dt>
        <dd>{redirect.host}</dd>
        <dt>Who it is</dt>
        <dd>{SOURCES[client.source]}</dd>
      </dl>
      {redirect.isLoopback && (
        <p class="warning">
          The answer goes to a program on your own machine. Go on only if you started it yourself just now.
        </p>
      )}
      <form method="post" action={`${site.base}/oauth/consent`} class="consent">
        <input type="hidden" name="request" value={view.requestId} />
        <Choice view={view} />
      </form>
    </Page>
  )
}

/** What an app may do, to untick, and the two buttons, which are alike. */
export function Choice({ view }: { view: AskedView }) {
  return (
    <>
      <fieldset>
        <legend>It may then</legend>
        {view.isEverything && <p class="scope">Do everything here that you may do</p>}
        {view.scopes.map((scope) => (
          <Scope scope={scope} />
        ))}
      </fieldset>
      {view.earlier.length > 0 && (
        <>
          <p class="hint">You allowed it before, and it does not ask for now:</p>
          <ul class="earlier">
            {view.earlier.map((words) => (
              <li>{words}</li>
            ))}
          </ul>
        </>
      )}
      <div class="choice">
        <button type="submit" name="decision" value="cancel" class="plain">
          Cancel
        </button>
        <button type="submit" name="decision" value="allow" class="plain">
          Allow
        </button>
      </div>
    </>
  )
}

/** The names of the scopes that are ticked in a form. */
export const tickedIn = (fields: Fields): string[] =>
  Object.keys(fields)
    .filter((name) => name.startsWith(BOX))
    .map((name) => name.slice(BOX.length))

/** The prefix of the names of boxes: a form that sends one name twice is refused. */
const BOX = 'scope.'

function Scope({ scope: { name, words, wasAllowed, isFixed } }: { scope: ShownScope }) {
  return (
    <label class="check scope">
      <input type="checkbox" name={BOX + name} value="on" checked disabled={isFixed} />
      <span>
        {words}
        <br />
        <span class="hint">
          {name}
          {wasAllowed && ' · allowed before'}
        </span>
      </span>
    </label>
  )
}

/** What follows a form whose way leads to an app: no redirect after a form may lead there (oauth.md, section 4, rule 4). */
export function GoOnPage({ site, to }: { site: Site; to: string }) {
  return (
    <Page site={site} title="One moment" onwards={to}>
      <p>
        <a class="button" href={to}>
          Go on
        </a>
      </p>
    </Page>
  )
}

/** What stands where an app's request cannot be answered to the app. */
export function RefusedPage({ site, sentence }: { site: Site; sentence: string }) {
  return (
    <Page site={site} title="This does not work">
      <p>{sentence}</p>
      <Links to={[[`${site.base}/`, 'Start page']]} />
    </Page>
  )
}
