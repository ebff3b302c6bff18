import { askWhole } from './api.ts'
import { API_URL } from './place.ts'
import { asRefusal } from './refusal.ts'

/**
 * Has a list written as CSV and saves it as a file, which the browser puts among its downloads.
 * @param path of the list, like `/audit`
 * @throws Refusal
 */
export async function saveCsv(path: string, query: Record<string, string>, name: string): Promise<void> {
  const { data } = await askWhole(async (_, token) => {
    const headers = { accept: 'text/csv', authorization: `Bearer ${token}` }
    const response = await fetch(`${API_URL}${path}?${new URLSearchParams(query)}`, { headers }).catch(
      (error: unknown) => {
        throw asRefusal(error)
      },
    )
    const { ok, status } = response
    const error = ok ? null : { value: await response.json().catch(() => null) }
    return { data: ok ? await response.blob() : null, error, response, status }
  })
  if (!data) return
  const link = document.createElement('a')
  link.href = URL.createObjectURL(data)
  link.download = name
  link.click()
  URL.revokeObjectURL(link.href)
}
