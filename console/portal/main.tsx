import { QueryClientProvider } from '@tanstack/react-query'
import { StrictMode } from 'react'
import { createRoot } from 'react-dom/client'
import { applyAccent } from './accent.ts'
import { queries } from './api.ts'
import { Portal } from './portal.tsx'

applyAccent()
const root = document.getElementById('portal')
if (root) {
  createRoot(root).render(
    <StrictMode>
      <QueryClientProvider client={queries}>
        <Portal />
      </QueryClientProvider>
    </StrictMode>,
  )
}
