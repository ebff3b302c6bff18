import { type ReactNode, useId } from 'react'
import { useParam } from '../lib/params.ts'

/** Parts of a page, one of them at a time; which one is in the URL. */
export function Tabs({
  label,
  tabs,
}: {
  label: string
  tabs: readonly { name: string; text: string; content: ReactNode }[]
}) {
  const id = useId()
  const [name, setName] = useParam('tab')
  const open = tabs.find((tab) => tab.name === name) ?? tabs[0]
  const move = (by: number) => {
    const at = tabs.findIndex((tab) => tab.name === open?.name)
    const next = tabs[(at + by + tabs.length) % tabs.length]
    setName(next?.name ?? '')
    document.getElementById(`${id}-${next?.name}`)?.focus()
  }
  return (
    <>
      <div className="tabs" role="tablist" aria-label={label}>
        {tabs.map((tab) => (
          <button
            key={tab.name}
            id={`${id}-${tab.name}`}
            type="button"
            role="tab"
            aria-selected={tab === open}
            aria-controls={`${id}-panel`}
            tabIndex={tab === open ? 0 : -1}
            onClick={() => setName(tab.name)}
            onKeyDown={({ key }) => {
              if (key === 'ArrowRight') move(1)
              if (key === 'ArrowLeft') move(-1)
            }}
          >
            {tab.text}
          </button>
        ))}
      </div>
      <div id={`${id}-panel`} role="tabpanel" aria-labelledby={`${id}-${open?.name}`}>
        {open?.content}
      </div>
    </>
  )
}
