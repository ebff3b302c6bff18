import { type ReactNode, useEffect, useRef } from 'react'
import { isGoingBack } from '../lib/place.ts'

/** A page: its heading takes the focus, so that keyboards and screen readers begin there. */
export function Page({
  title,
  lead,
  actions,
  children,
}: {
  title: string
  lead?: ReactNode
  actions?: ReactNode
  children: ReactNode
}) {
  const heading = useRef<HTMLHeadingElement>(null)
  useEffect(() => {
    heading.current?.focus({ preventScroll: true })
    if (!isGoingBack()) scrollTo(0, 0)
  }, [])
  return (
    <>
      <title>{`${title} · Latchkey`}</title>
      <div className="page-head">
        <div>
          <h1 ref={heading} tabIndex={-1}>
            {title}
          </h1>
          {lead !== undefined && <p className="quiet">{lead}</p>}
        </div>
        {actions !== undefined && <div className="actions">{actions}</div>}
      </div>
      {children}
    </>
  )
}

/** A part of a page, with a heading of its own. */
export function Card({
  title,
  id,
  actions,
  children,
}: {
  title?: string
  /** Where a link of the same page leads. */
  id?: string
  actions?: ReactNode
  children: ReactNode
}) {
  return (
    <section className="card" id={id}>
      {title !== undefined && (
        <div className="card-head">
          <h2>{title}</h2>
          {actions !== undefined && <div className="actions">{actions}</div>}
        </div>
      )}
      {children}
    </section>
  )
}

/** Something that is done seldom, with what it means beside its button. */
export function Deed({ lead, children }: { lead: string; children: ReactNode }) {
  return (
    <div className="deed">
      <p>{lead}</p>
      {children}
    </div>
  )
}
