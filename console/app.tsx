import { QueryClientProvider } from '@tanstack/react-query'
import { Redirect, Route, Router, Switch } from 'wouter'
import { Frame } from './components/frame.tsx'
import { queries } from './lib/api.ts'
import { CONSOLE, HAS_APPS } from './lib/place.ts'
import { AccountPage } from './pages/account.tsx'
import { AllKeysPage } from './pages/all-keys.tsx'
import { ApiPage } from './pages/api.tsx'
import { ApisPage } from './pages/apis.tsx'
import { AppPage } from './pages/app.tsx'
import { AppsPage } from './pages/apps.tsx'
import { AuditPage } from './pages/audit.tsx'
import { ImportPage } from './pages/import.tsx'
import { KeyPage } from './pages/key.tsx'
import { MailPage } from './pages/mail.tsx'
import { MyKeysPage } from './pages/my-keys.tsx'
import { NewAppPage } from './pages/new-app.tsx'
import { NewKeyPage } from './pages/new-key.tsx'
import { NotFoundPage } from './pages/not-found.tsx'
import { OverviewPage } from './pages/overview.tsx'
import { ServiceAccountPage } from './pages/service-account.tsx'
import { ServiceAccountsPage } from './pages/service-accounts.tsx'
import { SettingsPage } from './pages/settings.tsx'
import { SigningKeysPage } from './pages/signing-keys.tsx'
import { UserPage } from './pages/user.tsx'
import { UsersPage } from './pages/users.tsx'

/** The console's places (console.md, section 2, rule 6). */
export function App() {
  return (
    <QueryClientProvider client={queries}>
      <Router base={CONSOLE}>
        <Frame>
          <Switch>
            <Route path="/">
              <Redirect to="/keys" replace />
            </Route>
            <Route path="/keys" component={MyKeysPage} />
            <Route path="/keys/new" component={NewKeyPage} />
            <Route path="/keys/:id">{({ id }) => <KeyPage key={id} id={id} />}</Route>
            <Route path="/service-accounts" component={ServiceAccountsPage} />
            <Route path="/service-accounts/:id">{({ id }) => <ServiceAccountPage key={id} id={id} />}</Route>
            <Route path="/account" component={AccountPage} />
            <Route path="/overview" component={OverviewPage} />
            <Route path="/users" component={UsersPage} />
            <Route path="/users/:id">{({ id }) => <UserPage key={id} id={id} />}</Route>
            <Route path="/all-keys" component={AllKeysPage} />
            <Route path="/audit" component={AuditPage} />
            {HAS_APPS && <Route path="/apps" component={AppsPage} />}
            {HAS_APPS && <Route path="/apps/new" component={NewAppPage} />}
            {HAS_APPS && <Route path="/apps/:id">{({ id }) => <AppPage key={id} id={id} />}</Route>}
            {HAS_APPS && <Route path="/apis" component={ApisPage} />}
            {HAS_APPS && <Route path="/apis/:id">{({ id }) => <ApiPage key={id} id={id} />}</Route>}
            <Route path="/signing-keys" component={SigningKeysPage} />
            <Route path="/import" component={ImportPage} />
            <Route path="/mail" component={MailPage} />
            <Route path="/settings" component={SettingsPage} />
            <Route component={NotFoundPage} />
          </Switch>
        </Frame>
      </Router>
    </QueryClientProvider>
  )
}
