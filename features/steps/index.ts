/** Every step that a feature may use. */

import './billing-service.ts';
import './payer.ts';
import './refund.ts';
import './request.ts';
import './world.ts';
