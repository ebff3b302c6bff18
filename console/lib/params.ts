import { useSearchParams } from 'wouter'

/** A parameter of the URL, named as the API's; empty where it is missing. Setting it to nothing removes it. */
export function useParam(name: string): [value: string, set: (value: string) => void] {
  const [params, setParams] = useSearchParams()
  const set = (value: string) =>
    setParams(
      (before) => {
        const next = new URLSearchParams(before)
        if (value === '') next.delete(name)
        else next.set(name, value)
        // Another filter lists something else, from its beginning.
        if (name !== 'cursor') next.delete('cursor')
        return next
      },
      { replace: true },
    )
  return [params.get(name) ?? '', set]
}
