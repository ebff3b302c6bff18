import { useEffect, useState } from 'react'
import { useLocation } from 'wouter'
import { CONSOLE } from '../lib/place.ts'
import { mayLeave } from '../lib/session.ts'
import { texts } from '../texts.ts'
import { Dialog } from './dialog.tsx'

/** Asks before the page is left, as long as it is drawn: by the browser's own question, and within the console by a dialog. */
export function LeaveGuard({ words }: { words: Record<'askTitle' | 'askLead' | 'stay', string> }) {
  const [, navigate] = useLocation()
  const [wanted, setWanted] = useState<string | 'back' | null>(null)
  useEffect(() => {
    const onUnload = (event: BeforeUnloadEvent) => {
      if (!mayLeave()) event.preventDefault()
    }
    const onClick = (event: MouseEvent) => {
      const link = event.target instanceof Element ? event.target.closest('a') : null
      if (!link?.pathname.startsWith(CONSOLE) || link.hash !== '' || event.metaKey || event.ctrlKey) return
      event.preventDefault()
      event.stopPropagation()
      setWanted(link.pathname.slice(CONSOLE.length) + link.search)
    }
    // A second entry of this page: "back" leads to the first one, and is noticed.
    history.pushState(null, '', location.href)
    const onBack = () => {
      history.pushState(null, '', location.href)
      setWanted('back')
    }
    addEventListener('beforeunload', onUnload)
    addEventListener('popstate', onBack)
    document.addEventListener('click', onClick, true)
    return () => {
      removeEventListener('beforeunload', onUnload)
      removeEventListener('popstate', onBack)
      document.removeEventListener('click', onClick, true)
    }
  }, [])
  if (wanted === null) return null
  return (
    <Dialog title={words.askTitle} onClose={() => setWanted(null)}>
      <p>{words.askLead}</p>
      <div className="actions end">
        <button
          type="button"
          className="plain"
          onClick={() => navigate(wanted === 'back' ? '/keys' : wanted)}
        >
          {texts.secret.leave}
        </button>
        <button type="button" onClick={() => setWanted(null)}>
          {words.stay}
        </button>
      </div>
    </Dialog>
  )
}
