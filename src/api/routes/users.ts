import { Type } from '@sinclair/typebox'
import { Elysia } from 'elysia'
import type { Context } from '../../core/context.ts'
import { PasswordResetToken } from '../../core/login/model.ts'
import { issuePasswordReset } from '../../core/login/password.ts'
import { logOutEverywhere } from '../../core/sessions/sessions.ts'
import {
  changeUser,
  createUser,
  findUserById,
  listAllUsers,
  presentForAdmins as present,
  removeUser,
  requireUserPower,
} from '../../core/users/accounts.ts'
import { AdministeredUser, NewUser, UserPage, UserPatch } from '../../core/users/model.ts'
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
        requireUserPower(auth, body.role ?? 'user')
        return status(201, present(await createUser(context, originOf(state), body)))
      },
      {
        anyone: { scopes: [USERS_WRITE], json: true },
        body: NewUser,
        response: { 201: AdministeredUser },
        detail: {
          operationId: 'createUser',
          summary: 'Make an account for somebody',
          'x-errors': ['email_taken', 'forbidden'],
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
      async ({ auth, body, params, state }) =>
        present(await changeUser(context, originOf(state), auth, params.id, body)),
      {
        anyone: { scopes: [USERS_WRITE], json: true },
        body: UserPatch,
        response: { 200: AdministeredUser },
        detail: {
          operationId: 'changeUser',
          summary: "Change a user's role, state, ceiling or verified address",
          'x-errors': ['not_found', 'last_admin', 'forbidden'],
        },
      },
    )
    .delete(
      '/:id',
      async ({ auth, params, state, status }) => {
        await removeUser(context, originOf(state), auth, params.id)
        return status(204, undefined)
      },
      {
        anyone: { scopes: [USERS_WRITE] },
        response: nothing,
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
        const user = isId(params.id) ? await findUserById(context.db, params.id) : null
        requireUserPower(auth, user?.role ?? fail('not_found'))
        await logOutEverywhere(context, originOf(state), params.id, 'admin_logout')
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
      async ({ params, state }) =>
        issuePasswordReset(context, originOf(state), isId(params.id) ? params.id : fail('not_found')),
      {
        // Whoever holds the token is that user: no key may have one made.
        admin: true,
        response: { 200: PasswordResetToken },
        detail: {
          operationId: 'issuePasswordReset',
          summary: 'Make a one-time token for a new password, for the admin to deliver',
          'x-errors': ['not_found', 'forbidden'],
        },
      },
    )
