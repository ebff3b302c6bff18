import { type ReactNode, useEffect, useRef } from 'react'
import { Notices } from '../components/notices.tsx'
import { Problem } from '../components/problem.tsx'
import { texts } from '../texts.ts'
import { Brand, brand, ReturnLink } from './brand.tsx'
import { KeysPage } from './keys.tsx'
import { exchange, session } from './session.ts'

/** The customer portal: before the link is exchanged, while its session is open, and afterwards. */
export function Portal() {
  const state = session.use()
  switch (state.kind) {
    case 'open':
      return (
        <>
          <KeysPage access={state.access} />
          <Notices />
        </>
      )
    case 'link':
      return (
        <Notice title={texts.portal.welcome} lead={texts.portal.welcomeLead}>
          {state.error && <Problem error={state.error} />}
          <button type="button" disabled={state.isOpening} onClick={() => void exchange()}>
            {state.isOpening ? texts.portal.opening : texts.portal.continue}
          </button>
        </Notice>
      )
    case 'dead':
      return <Notice title={texts.portal.dead} lead={texts.portal.deadLead} />
    case 'over':
      return (
        <Notice title={texts.portal.over} lead={texts.portal.overLead}>
          {state.returnUrl !== null && <ReturnLink to={state.returnUrl} className="button" />}
        </Notice>
      )
    case 'none':
      return <Notice title={texts.portal.none} lead={texts.portal.noneLead} />
  }
}

/** A page that says one thing. */
function Notice({ title, lead, children }: { title: string; lead: string; children?: ReactNode }) {
  const heading = useRef<HTMLHeadingElement>(null)
  useEffect(() => {
    document.title = `${title} · ${brand.name}`
    heading.current?.focus()
  }, [title])
  return (
    <main className="portal-notice">
      <Brand name={brand.name} />
      <h1 ref={heading} tabIndex={-1}>
        {title}
      </h1>
      <p className="quiet">{lead}</p>
      {children}
    </main>
  )
}
