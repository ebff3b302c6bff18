import { appKilled } from './app-killed.ts'

export const fault = appKilled('Latchkey killed, on the embedded database', 'embedded')
