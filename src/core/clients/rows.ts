/** The rows of clients, for the folders that let apps act. */
export {
  type ClientRow,
  findClientByClientId,
  insertClient,
  insertClientOnce,
  updateClient,
} from './queries.ts'
