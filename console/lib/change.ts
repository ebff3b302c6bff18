import { useMutation, useQueryClient } from '@tanstack/react-query'
import { flushSync } from 'react-dom'
import { notify } from '../components/notices.tsx'
import { asRefusal, type Refusal } from './refusal.ts'

/**
 * A change that a page makes. Afterwards the page reads again everything that it shows.
 * @param done said to the person when it is done
 */
export function useChange<Input = void, Result = unknown>(
  change: (input: Input) => Promise<Result>,
  { done, onDone }: { done?: string; onDone?: (result: Result) => void } = {},
) {
  const client = useQueryClient()
  return useMutation<Result, Refusal, Input>({
    mutationFn: (input) =>
      change(input).catch((error: unknown) => {
        throw asRefusal(error)
      }),
    onSuccess: async (result) => {
      if (done !== undefined) notify(done)
      // The next page is rendered before anything is read again: the change may have deleted what this page shows.
      flushSync(() => onDone?.(result))
      await client.invalidateQueries()
    },
  })
}

/** Only what differs: to name what stays as it is would ask for rights that the change does not need. */
export function changesOf<T extends object>(before: T, after: Partial<T>): Partial<T> {
  const differs = ([name, value]: [string, unknown]) =>
    JSON.stringify(value) !== JSON.stringify((before as Record<string, unknown>)[name])
  return Object.fromEntries(Object.entries(after).filter(differs)) as Partial<T>
}
