import { type Static, Type } from '@sinclair/typebox'
import { Elysia } from 'elysia'
import type { Context } from '../../core/context.ts'
import { Accepted } from '../../core/email/model.ts'
import { PasswordResetPage, PasswordResetToken, ResetRequest } from '../../core/login/model.ts'
import {
  cancelPasswordReset,
  issuePasswordReset,
  listPasswordResets,
  presentReset,
} from '../../core/login/password-reset.ts'
import { logOutEverywhere } from '../../core/sessions/sessions.ts'
import {
  changeUser,
  createUser,
  findUserById,
  listAllUsers,
  presentForAdmins as present,
  removeUser,
} from '../../core/users/accounts.ts'
import { inviteAgain } from '../../core/users/invite.ts'
import {
  AdministeredUser,
  ChangedUser,
  DeletedUser,
  NewUser,
  UserPage,
  UserPatch,
} from '../../core/users/model.ts'
import { fail } from '../../lib/errors.ts'
import { isId } from '../../lib/ids.ts'
import { USERS_READ, USERS_WRITE } from '../../lib/scopes.ts'
import type { Guard } from '../auth.ts'
import { pageQuery, presentPage } from '../page.ts'
import { originOf } from '../request-state.ts'

const UserQuery = Type.Object({
  query: Type.Optional(Type.String({ maxLength: 254, description: 'A part of the e-mail' })),
  ...pageQuery,
})

/** What becomes of the service accounts that a user alone manages, where the user is disabled or deleted. */
const EndingQuery = Type.Object(
  { service_accounts: Type.Optional(Type.Literal('disable')) },
  { additionalProperties: false },
)
const endingOf = (query: Static<typeof EndingQuery>) => ({
  disablesAccounts: query.service_accounts === 'disable',
})

const nothing = { 204: Type.Undefined({ description: 'Done' }) }

/** Users for admins, and for keys that hold `latchkey:users.*`; roles and admins are an admin's own business. */
export const userRoutes = (context: Context, guard: Guard) =>
  new Elysia({ prefix: '/users', tags: ['Administration'] })
    .use(guard)
    .get(
      '/',
      async ({ query }) => {
        const { query: text, ...page } = query
        return presentPage(await listAllUsers(context, { text, ...page }), present)
      },
      {
        anyone: { scopes: [USERS_READ] },
        query: UserQuery,
        response: { 200: UserPage },
        detail: { operationId: 'listUsers', summary: 'Users, newest first' },
      },
    )
    .post(
      '/',
      async ({ auth, body, state, status }) => {
        return status(201, present(await createUser(context, originOf(state), auth, body)))
      },
      {
        anyone: { scopes: [USERS_WRITE], json: true },
        body: NewUser,
        response: { 201: AdministeredUser },
        detail: {
          operationId: 'createUser',
          summary: 'Make an account for somebody',
          'x-errors': ['email_taken', 'forbidden', 'conflict'],
        },
      },
    )
    .get(
      '/:id',
      async ({ params }) => {
        const user = isId(params.id) ? await findUserById(context.db, params.id) : null
        return present(user ?? fail('not_found'))
      },
      {
        anyone: { scopes: [USERS_READ] },
        response: { 200: AdministeredUser },
        detail: { operationId: 'getUser', summary: 'One user', 'x-errors': ['not_found'] },
      },
    )
    .patch(
      '/:id',
      async ({ auth, body, params, query, state }) => {
        const { user, accounts } = await changeUser(
          context,
          originOf(state),
          auth,
          params.id,
          body,
          endingOf(query),
        )
        return { ...present(user), ...(accounts && { service_accounts: accounts }) }
      },
      {
        anyone: { scopes: [USERS_WRITE], json: true },
        body: UserPatch,
        query: EndingQuery,
        response: { 200: ChangedUser },
        detail: {
          operationId: 'changeUser',
          summary: "Change a user's role, state, ceiling or address",
          'x-errors': ['not_found', 'last_admin', 'forbidden', 'email_taken'],
        },
      },
    )
    .delete(
      '/:id',
      async ({ auth, params, query, state }) => ({
        service_accounts: await removeUser(context, originOf(state), auth, params.id, endingOf(query)),
      }),
      {
        anyone: { scopes: [USERS_WRITE] },
        query: EndingQuery,
        response: { 200: DeletedUser },
        detail: {
          operationId: 'deleteUser',
          summary: 'Delete a user with their sessions and keys',
          'x-errors': ['not_found', 'last_admin', 'forbidden'],
        },
      },
    )
    .post(
      '/:id/logout',
      async ({ auth, params, state, status }) => {
        await logOutEverywhere(context, originOf(state), auth, params.id)
        return status(204, undefined)
      },
      {
        anyone: { scopes: [USERS_WRITE] },
        response: nothing,
        detail: {
          operationId: 'logOutUser',
          summary: 'End every session of a user',
          'x-errors': ['not_found', 'forbidden'],
        },
      },
    )
    .post(
      '/:id/password-reset',
      async ({ auth, body, params, state, status }) => {
        const sends = body?.send === true
        const token = await issuePasswordReset(context, originOf(state), auth, params.id, sends)
        return token ?? status(202, { message: 'The link is mailed to the user.' })
      },
      {
        // Whoever holds the token is that user: no key may have one made.
        admin: { json: true },
        body: Type.Union([ResetRequest, Type.Null()]),
        response: { 200: PasswordResetToken, 202: Accepted },
        detail: {
          operationId: 'issuePasswordReset',
          summary: 'Make a one-time token for a new password, for the admin to deliver, or mail it',
          'x-errors': ['not_found', 'forbidden', 'conflict'],
        },
      },
    )
    .post(
      '/:id/invite',
      async ({ auth, params, state, status }) => {
        await inviteAgain(context, originOf(state), auth, params.id)
        return status(202, { message: 'The link is mailed to the user.' })
      },
      {
        admin: true,
        response: { 202: Accepted },
        detail: {
          operationId: 'inviteUser',
          summary: 'Mail an invitation again',
          'x-errors': ['not_found', 'forbidden', 'conflict'],
        },
      },
    )
    .get(
      '/:id/password-resets',
      async ({ params, query }) =>
        presentPage(await listPasswordResets(context, params.id, query), presentReset),
      {
        admin: true,
        query: Type.Object(pageQuery, { additionalProperties: false }),
        response: { 200: PasswordResetPage },
        detail: {
          operationId: 'listPasswordResets',
          summary: 'The one-time tokens of a user that are not used yet, newest first',
          'x-errors': ['not_found', 'forbidden'],
        },
      },
    )
    .delete(
      '/:id/password-resets/:reset_id',
      async ({ auth, params, state, status }) => {
        await cancelPasswordReset(context, originOf(state), auth, params.id, params.reset_id)
        return status(204, undefined)
      },
      {
        admin: true,
        response: nothing,
        detail: {
          operationId: 'cancelPasswordReset',
          summary: 'Cancel a one-time token that is not used yet',
          'x-errors': ['not_found', 'forbidden'],
        },
      },
    )
