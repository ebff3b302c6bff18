import { useMutation, useQueryClient } from '@tanstack/react-query'
import { notify } from '../components/notices.tsx'
import { asRefusal, type Refusal } from './refusal.ts'

/**
 * What a page changes: everything that is shown is read again afterwards.
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
      onDone?.(result)
      await client.invalidateQueries()
    },
  })
}
