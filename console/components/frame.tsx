import { type ReactNode, useEffect, useState } from 'react'
import { Link, useLocation } from 'wouter'
import { isAdmin, isStaff, useMe } from '../lib/me.ts'
import { HAS_APPS } from '../lib/place.ts'
import { asRefusal } from '../lib/refusal.ts'
import { signOut } from '../lib/session.ts'
import { type Look, setLook, theme } from '../lib/theme.ts'
import { texts } from '../texts.ts'
import { Notices, notify } from './notices.tsx'
import { Questions } from './questions.tsx'
import { SearchEverywhere } from './search-everywhere.tsx'

const OWN = ['keys', 'service-accounts', 'account'] as const
const STAFF = ['overview', 'users', 'all-keys', 'audit'] as const
const APPS = ['apps', 'apis'] as const
const ADMIN = ['signing-keys', 'import', 'mail', 'settings'] as const
const LOOKS: readonly Look[] = ['system', 'light', 'dark']

/** What stands around every page. */
export function Frame({ children }: { children: ReactNode }) {
  const me = useMe()
  const [isOpen, setOpen] = useState(false)
  const [location] = useLocation()
  // biome-ignore lint/correctness/useExhaustiveDependencies: the menu closes where a page opens
  useEffect(() => setOpen(false), [location])
  return (
    <>
      <a className="skip" href="#main">
        {texts.frame.skip}
      </a>
      <div className="frame-side">
        <header className="frame-head">
          <Link href="/keys" className="brand">
            <Logo /> Latchkey
          </Link>
          <button
            type="button"
            className="plain menu"
            aria-expanded={isOpen}
            aria-controls="menu"
            onClick={() => setOpen(!isOpen)}
          >
            {texts.frame.menu}
          </button>
        </header>
        <aside id="menu" className="frame-nav" aria-label={texts.frame.console} data-open={isOpen}>
          <div>
            <SearchEverywhere />
            <nav aria-label={texts.frame.navigation}>
              <Places names={OWN} />
              {isStaff(me) && (
                <>
                  <p className="quiet">{texts.frame.administration}</p>
                  <Places names={STAFF} />
                  {isAdmin(me) && HAS_APPS && <Places names={APPS} />}
                  {isAdmin(me) && <Places names={ADMIN} />}
                </>
              )}
            </nav>
          </div>
          <div className="frame-foot">
            <p className="who" title={me?.email}>
              {me?.email}
            </p>
            <div>
              <select
                aria-label={texts.frame.look}
                value={theme.use().look}
                onChange={({ target }) => setLook(target.value as Look)}
              >
                {LOOKS.map((look) => (
                  <option key={look} value={look}>
                    {texts.frame.looks[look]}
                  </option>
                ))}
              </select>
              <button
                type="button"
                className="plain"
                onClick={() => void signOut().catch((error: unknown) => notify(asRefusal(error).detail))}
              >
                {texts.frame.signOut}
              </button>
            </div>
          </div>
        </aside>
      </div>
      <main id="main" tabIndex={-1}>
        {children}
      </main>
      <Notices />
      <Questions />
    </>
  )
}

type Name = (typeof OWN | typeof STAFF | typeof APPS | typeof ADMIN)[number]

function Places({ names }: { names: readonly Name[] }) {
  const [location] = useLocation()
  return names.map((name) => {
    // The key of another owner does not belong to "My keys".
    const isWithin = name !== 'keys' && location.startsWith(`/${name}/`)
    const isHere = location === `/${name}` || isWithin
    return (
      <Link key={name} href={`/${name}`} aria-current={isHere ? 'page' : undefined}>
        {texts.pages[name]}
      </Link>
    )
  })
}

function Logo() {
  return (
    <svg viewBox="0 0 24 24" width="24" height="24" aria-hidden="true">
      <circle cx="8" cy="12" r="5" fill="none" stroke="currentColor" strokeWidth="2.5" />
      <path
        d="M13 12h9m-3 0v4m-3-4v3"
        fill="none"
        stroke="currentColor"
        strokeWidth="2.5"
        strokeLinecap="round"
      />
    </svg>
  )
}
