// All of mezzo.
#pragma once

#include "mezzo/dtype.h"
#include "mezzo/error.h"
#include "mezzo/image.h"
#include "mezzo/model.h"
#include "mezzo/random.h"
#include "mezzo/session.h"
#include "mezzo/tensor.h"
