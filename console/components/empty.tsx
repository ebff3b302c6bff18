import type { ReactNode } from 'react'
import { Copy } from './copy.tsx'

/** Where there is nothing yet: how to make the first one. */
export function Empty({
  title,
  children,
  command,
}: {
  title: string
  children?: ReactNode
  command?: string
}) {
  return (
    <div className="empty">
      <h2>{title}</h2>
      {children}
      {command !== undefined && <Command text={command} />}
    </div>
  )
}

/** Something to be copied and run. */
export function Command({ text }: { text: string }) {
  return (
    <div className="command">
      {/* It scrolls: so a keyboard has to reach it. */}
      {/* biome-ignore lint/a11y/noNoninteractiveTabindex: a scrollable region has to take the focus */}
      <pre tabIndex={0}>{text}</pre>
      <Copy text={text} />
    </div>
  )
}
