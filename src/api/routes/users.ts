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
import { unlockUser } from '../../core/login/unlock.ts'
import { resetFactors } from '../../core/second-factors/factors.ts'
import { SessionPage } from '../../core/sessions/model.ts'
import {
  endSessionOfUser,
  listSessionsOfUser,
  logOutEverywhere,
  presentSession,
} from '../../core/sessions/sessions.ts'
import {
  changeUser,
  createUser,
  describeUser,
  listAllUsers,
  presentAllForAdmins,
  presentForAdmins,
  removeUser,
  type UserRow,
} from '../../core/users/accounts.ts'
import { topUpUser } from '../../core/users/credit.ts'
import { inviteAgain } from '../../core/users/invite.ts'
import {
  AdministeredUser,
  ChangedUser,
  DeletedUser,
  NewUser,
  UserDetail,
  UserPage,
  UserPatch,
} from '../../core/users/model.ts'
import type { Guard } from '../auth.ts'
import { describe, noContent } from '../openapi/describe.ts'
import { pageQuery, presentPage, searchQuery, tellTruncated } from '../page.ts'
import { originOf } from '../request-state.ts'
import { NEEDS } from '../route-table.ts'
import { answerTopUp, describeTopUp, TOPS_UP } from '../top-up.ts'

const UserQuery = Type.Object({
  query: searchQuery('The beginning of the address, or of words in it'),
  ...pageQuery,
})

/** What happens to the service accounts that only this user manages, when the user is disabled or deleted. */
const EndingQuery = Type.Object(
  { service_accounts: Type.Optional(Type.Literal('disable')) },
  { additionalProperties: false },
)
const endingOf = (query: Static<typeof EndingQuery>) => ({
  disablesAccounts: query.service_accounts === 'disable',
})

/** Users, for admins and for keys with a `latchkey:users.*` scope. Only an admin changes roles and other admins. */
export const userRoutes = (context: Context, guard: Guard) => {
  const present = (user: UserRow) => presentForAdmins(context, user)

  return new Elysia({ prefix: '/users', tags: ['Administration'] })
    .use(guard)
    .get(
      '/',
      async ({ query, set }) => {
        const { query: text, ...page } = query
        const found = await listAllUsers(context, { text, ...page })
        tellTruncated(set, found.isTruncated)
        return { items: await presentAllForAdmins(context, found.rows), next_cursor: found.nextCursor }
      },
      {
        ...NEEDS['GET /users'],
        query: UserQuery,
        response: { 200: UserPage },
        detail: describe('listUsers', 'Users, newest first'),
      },
    )
    .post(
      '/',
      async ({ auth, body, state, status }) => {
        return status(201, await present(await createUser(context, originOf(state), auth, body)))
      },
      {
        ...NEEDS['POST /users'],
        body: NewUser,
        response: { 201: AdministeredUser },
        detail: describe('createUser', 'Make an account for somebody', {
          errors: ['email_taken', 'forbidden', 'conflict', 'reauthentication_required'],
        }),
      },
    )
    .get('/:id', ({ params }) => describeUser(context, params.id), {
      ...NEEDS['GET /users/:id'],
      response: { 200: UserDetail },
      detail: describe('getUser', 'One user', { errors: ['not_found'] }),
    })
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
        return { ...(await present(user)), ...(accounts && { service_accounts: accounts }) }
      },
      {
        ...NEEDS['PATCH /users/:id'],
        body: UserPatch,
        query: EndingQuery,
        response: { 200: ChangedUser },
        detail: describe('changeUser', "Change a user's role, state, ceiling, credits or address", {
          errors: ['not_found', 'last_admin', 'forbidden', 'email_taken', 'reauthentication_required'],
        }),
      },
    )
    .delete(
      '/:id',
      async ({ auth, params, query, state }) => ({
        service_accounts: await removeUser(context, originOf(state), auth, params.id, endingOf(query)),
      }),
      {
        ...NEEDS['DELETE /users/:id'],
        query: EndingQuery,
        response: { 200: DeletedUser },
        detail: describe('deleteUser', 'Delete a user with their sessions and keys', {
          errors: ['not_found', 'last_admin', 'forbidden', 'reauthentication_required'],
        }),
      },
    )
    .post(
      '/:id/credits',
      ({ auth, params, ...given }) =>
        answerTopUp(given, `/users/${params.id.toLowerCase()}/credits`, (request) =>
          topUpUser(context, originOf(given.state), auth, params.id, request),
        ),
      {
        ...NEEDS['POST /users/:id/credits'],
        ...TOPS_UP,
        detail: describeTopUp('topUpUser', 'a user'),
      },
    )
    .post(
      '/:id/logout',
      async ({ auth, params, state, status }) => {
        await logOutEverywhere(context, originOf(state), auth, params.id)
        return status(204, undefined)
      },
      {
        ...NEEDS['POST /users/:id/logout'],
        response: noContent(),
        detail: describe('logOutUser', 'End every session of a user', { errors: ['not_found', 'forbidden'] }),
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
        ...NEEDS['POST /users/:id/password-reset'],
        body: Type.Union([ResetRequest, Type.Null()]),
        response: { 200: PasswordResetToken, 202: Accepted },
        detail: describe(
          'issuePasswordReset',
          'Make a one-time token for a new password, for the admin to deliver, or mail it',
          { errors: ['not_found', 'forbidden', 'conflict', 'reauthentication_required'] },
        ),
      },
    )
    .delete(
      '/:id/mfa',
      async ({ auth, params, state, status }) => {
        await resetFactors(context, originOf(state), auth, params.id)
        return status(204, undefined)
      },
      {
        ...NEEDS['DELETE /users/:id/mfa'],
        response: noContent(),
        detail: describe(
          'resetSecondFactors',
          'Take all second factors and recovery codes from a user who lost them; their sessions end',
          { errors: ['not_found', 'forbidden', 'reauthentication_required', 'conflict'] },
        ),
      },
    )
    .post(
      '/:id/unlock',
      async ({ auth, params, state, status }) => {
        await unlockUser(context, originOf(state), auth, params.id)
        return status(204, undefined)
      },
      {
        ...NEEDS['POST /users/:id/unlock'],
        response: noContent(),
        detail: describe(
          'unlockUser',
          'Forget the wrong passwords and codes of a user, and end the locks that they brought',
          { errors: ['not_found', 'forbidden', 'reauthentication_required'] },
        ),
      },
    )
    .post(
      '/:id/invite',
      async ({ auth, params, state, status }) => {
        await inviteAgain(context, originOf(state), auth, params.id)
        return status(202, { message: 'The link is mailed to the user.' })
      },
      {
        ...NEEDS['POST /users/:id/invite'],
        response: { 202: Accepted },
        detail: describe('inviteUser', 'Mail an invitation again', {
          errors: ['not_found', 'forbidden', 'reauthentication_required', 'conflict'],
        }),
      },
    )
    .get(
      '/:id/password-resets',
      async ({ params, query }) =>
        presentPage(await listPasswordResets(context, params.id, query), presentReset),
      {
        ...NEEDS['GET /users/:id/password-resets'],
        query: Type.Object(pageQuery, { additionalProperties: false }),
        response: { 200: PasswordResetPage },
        detail: describe(
          'listPasswordResets',
          'The one-time tokens of a user that are not used yet, newest first',
          { errors: ['not_found', 'forbidden'] },
        ),
      },
    )
    .get(
      '/:id/sessions',
      async ({ auth, params, query }) => {
        const current = auth.kind === 'user' ? auth.sessionId : null
        return presentPage(await listSessionsOfUser(context, params.id, query), (session) =>
          presentSession(session, current),
        )
      },
      {
        ...NEEDS['GET /users/:id/sessions'],
        query: Type.Object(pageQuery, { additionalProperties: false }),
        response: { 200: SessionPage },
        detail: describe('listUserSessions', "A user's live sessions, newest first", {
          errors: ['not_found'],
        }),
      },
    )
    .delete(
      '/:id/sessions/:sid',
      async ({ auth, params, state, status }) => {
        await endSessionOfUser(context, originOf(state), auth, params.id, params.sid)
        return status(204, undefined)
      },
      {
        ...NEEDS['DELETE /users/:id/sessions/:sid'],
        response: noContent(),
        detail: describe('endUserSession', 'End a session of a user', { errors: ['not_found', 'forbidden'] }),
      },
    )
    .delete(
      '/:id/password-resets/:reset_id',
      async ({ auth, params, state, status }) => {
        await cancelPasswordReset(context, originOf(state), auth, params.id, params.reset_id)
        return status(204, undefined)
      },
      {
        ...NEEDS['DELETE /users/:id/password-resets/:reset_id'],
        response: noContent(),
        detail: describe('cancelPasswordReset', 'Cancel a one-time token that is not used yet', {
          errors: ['not_found', 'forbidden'],
        }),
      },
    )
}
