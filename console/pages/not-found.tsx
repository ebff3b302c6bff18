import { Link } from 'wouter'
import { Page } from '../components/page.tsx'
import { texts } from '../texts.ts'

export function NotFoundPage() {
  return (
    <Page title={texts.notFound.title}>
      <p>
        <Link href="/keys">{texts.pages.keys}</Link>
      </p>
    </Page>
  )
}
