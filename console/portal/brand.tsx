import { texts } from '../texts.ts'

const told = (name: string): string =>
  document.querySelector<HTMLMetaElement>(`meta[name="latchkey-${name}"]`)?.content ?? ''

/** What the server writes into the page: what the product is called, and how it looks. */
export const brand = { name: told('name'), accent: told('accent'), logo: told('logo') }

/** What the product is called, beside its picture. */
export function Brand({ name }: { name: string }) {
  return (
    <span className="brand">
      {brand.logo !== '' && <img src={brand.logo} alt="" />}
      <bdi>{name}</bdi>
    </span>
  )
}

/** The way back to the product; out of its frame too. */
export function ReturnLink({ to, className }: { to: string; className?: string }) {
  return (
    <a href={to} target="_top" className={className}>
      {texts.portal.back(new URL(to).host)}
    </a>
  )
}
