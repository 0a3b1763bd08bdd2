@zeros = private constant [16 x i8] zeroinitializer
!0 = !{i32 1}

declare i64 @llvm.smin.i64(i64, i64)
declare float @llvm.fabs.f32(float)
declare <16 x float> @llvm.masked.load.v16f32.p0(ptr, <16 x i1>, <16 x float>)
declare void @llvm.masked.store.v16f32.p0(<16 x float>, ptr, <16 x i1>)
declare i64 @llvm.smax.i64(i64, i64)
declare void @facula_parallel(ptr, ptr, i64)

define internal void @task(ptr %record, i64 %number) #0 {
entry:
  %.7 = alloca i64
  %.16 = alloca double
  %.17 = alloca i64
  %at.out.ptr = getelementptr i64, ptr %record, i64 0
  %out.ptr = load ptr, ptr %at.out.ptr, align 8
  %at.x.ptr = getelementptr i64, ptr %record, i64 1
  %x.ptr = load ptr, ptr %at.x.ptr, align 8
  %at.n0 = getelementptr i64, ptr %record, i64 2
  %n0 = load i64, ptr %at.n0, align 8
  %at.n1 = getelementptr i64, ptr %record, i64 3
  %n1 = load i64, ptr %at.n1, align 8
  %at.out.s0 = getelementptr i64, ptr %record, i64 4
  %out.s0 = load i64, ptr %at.out.s0, align 8
  %at.x.s0 = getelementptr i64, ptr %record, i64 5
  %x.s0 = load i64, ptr %at.x.s0, align 8
  %at.units = getelementptr i64, ptr %record, i64 7
  %units = load i64, ptr %at.units, align 8
  %at.grain = getelementptr i64, ptr %record, i64 8
  %grain = load i64, ptr %at.grain, align 8
  %.1 = mul i64 %out.s0, 4
  %.2 = mul i64 %x.s0, 4
  %.3 = icmp sgt i64 %n1, 0
  %.4 = mul i64 %number, %grain
  %.5 = add i64 %.4, %grain
  %.6 = call i64 @llvm.smin.i64(i64 %.5, i64 %units)
  store i64 %.4, ptr %.7
  %.9 = icmp slt i64 %.4, %.6
  br i1 %.9, label %loop.8, label %done.8
loop.8:
  %.10 = phi i64 [ %.4, %entry ], [ %.101, %done.57 ]
  %.11 = load i64, ptr %.7
  %.12 = mul i64 %.11, %.1
  %.13 = getelementptr i8, ptr %out.ptr, i64 %.12
  %.14 = mul i64 %.11, %.2
  %.15 = getelementptr i8, ptr %x.ptr, i64 %.14
  store double 0x8000000000000000, ptr %.16
  store i64 0, ptr %.17
  %.19 = sub i64 %n1, 16
  %.20 = add i64 %.19, 1
  %.21 = icmp slt i64 0, %.20
  br i1 %.21, label %loop.18, label %done.18
loop.18:
  %.22 = phi i64 [ 0, %loop.8 ], [ %.54, %loop.18 ]
  %.23 = mul i64 %.22, 4
  %.24 = getelementptr i8, ptr %.15, i64 %.23
  %.25 = load <16 x float>, ptr %.24, align 4
  %.26 = shufflevector <16 x float> %.25, <16 x float> splat (float 0x8000000000000000), <16 x i32> <i32 16, i32 0, i32 1, i32 2, i32 3, i32 4, i32 5, i32 6, i32 7, i32 8, i32 9, i32 10, i32 11, i32 12, i32 13, i32 14>
  %.27 = fadd <16 x float> %.26, %.25
  %.28 = shufflevector <16 x float> %.27, <16 x float> splat (float 0x8000000000000000), <16 x i32> <i32 16, i32 16, i32 0, i32 1, i32 2, i32 3, i32 4, i32 5, i32 6, i32 7, i32 8, i32 9, i32 10, i32 11, i32 12, i32 13>
  %.29 = fadd <16 x float> %.28, %.27
  %.30 = shufflevector <16 x float> %.29, <16 x float> splat (float 0x8000000000000000), <16 x i32> <i32 16, i32 16, i32 16, i32 16, i32 0, i32 1, i32 2, i32 3, i32 4, i32 5, i32 6, i32 7, i32 8, i32 9, i32 10, i32 11>
  %.31 = fadd <16 x float> %.30, %.29
  %.32 = shufflevector <16 x float> %.31, <16 x float> splat (float 0x8000000000000000), <16 x i32> <i32 16, i32 16, i32 16, i32 16, i32 16, i32 16, i32 16, i32 16, i32 0, i32 1, i32 2, i32 3, i32 4, i32 5, i32 6, i32 7>
  %.33 = fadd <16 x float> %.32, %.31
  %.34 = extractelement <16 x float> %.33, i64 15
  %.35 = load double, ptr %.16
  %.36 = fpext float %.34 to double
  %.37 = fadd double %.35, %.36
  store double %.37, ptr %.16
  %.38 = fptrunc double %.35 to float
  %.39 = fpext float %.38 to double
  %.40 = fsub double %.35, %.39
  %.41 = fptrunc double %.40 to float
  %.42 = call float @llvm.fabs.f32(float %.41)
  %.43 = fcmp olt float %.42, 0x7FF0000000000000
  %.44 = select i1 %.43, float %.41, float -0.0
  %.45 = insertelement <16 x float> poison, float %.44, i64 0
  %.46 = shufflevector <16 x float> %.45, <16 x float> poison, <16 x i32> zeroinitializer
  %.47 = fadd <16 x float> %.46, %.33
  %.48 = insertelement <16 x float> poison, float %.38, i64 0
  %.49 = shufflevector <16 x float> %.48, <16 x float> poison, <16 x i32> zeroinitializer
  %.50 = fadd <16 x float> %.49, %.47
  %.51 = mul i64 %.22, 4
  %.52 = getelementptr i8, ptr %.13, i64 %.51
  store <16 x float> %.50, ptr %.52, align 4
  %.53 = add i64 %.22, 16
  store i64 %.53, ptr %.17
  %.54 = add i64 %.22, 16
  %.55 = icmp slt i64 %.54, %.20
  br i1 %.55, label %loop.18, label %done.18
done.18:
  %.56 = load i64, ptr %.17
  %.58 = icmp slt i64 %.56, %n1
  br i1 %.58, label %loop.57, label %done.57
loop.57:
  %.59 = phi i64 [ %.56, %done.18 ], [ %.97, %loop.57 ]
  %.60 = sub i64 %n1, %.59
  %.61 = call i64 @llvm.smin.i64(i64 %.60, i64 16)
  %.62 = sub i64 16, %.61
  %.63 = trunc i64 %.62 to i16
  %.64 = lshr i16 -1, %.63
  %.65 = bitcast i16 %.64 to <16 x i1>
  %.66 = mul i64 %.59, 4
  %.67 = getelementptr i8, ptr %.15, i64 %.66
  %.68 = call <16 x float> @llvm.masked.load.v16f32.p0(ptr align 4 %.67, <16 x i1> %.65, <16 x float> zeroinitializer)
  %.69 = select <16 x i1> %.65, <16 x float> %.68, <16 x float> splat (float 0x8000000000000000)
  %.70 = shufflevector <16 x float> %.69, <16 x float> splat (float 0x8000000000000000), <16 x i32> <i32 16, i32 0, i32 1, i32 2, i32 3, i32 4, i32 5, i32 6, i32 7, i32 8, i32 9, i32 10, i32 11, i32 12, i32 13, i32 14>
  %.71 = fadd <16 x float> %.70, %.69
  %.72 = shufflevector <16 x float> %.71, <16 x float> splat (float 0x8000000000000000), <16 x i32> <i32 16, i32 16, i32 0, i32 1, i32 2, i32 3, i32 4, i32 5, i32 6, i32 7, i32 8, i32 9, i32 10, i32 11, i32 12, i32 13>
  %.73 = fadd <16 x float> %.72, %.71
  %.74 = shufflevector <16 x float> %.73, <16 x float> splat (float 0x8000000000000000), <16 x i32> <i32 16, i32 16, i32 16, i32 16, i32 0, i32 1, i32 2, i32 3, i32 4, i32 5, i32 6, i32 7, i32 8, i32 9, i32 10, i32 11>
  %.75 = fadd <16 x float> %.74, %.73
  %.76 = shufflevector <16 x float> %.75, <16 x float> splat (float 0x8000000000000000), <16 x i32> <i32 16, i32 16, i32 16, i32 16, i32 16, i32 16, i32 16, i32 16, i32 0, i32 1, i32 2, i32 3, i32 4, i32 5, i32 6, i32 7>
  %.77 = fadd <16 x float> %.76, %.75
  %.78 = extractelement <16 x float> %.77, i64 15
  %.79 = load double, ptr %.16
  %.80 = fpext float %.78 to double
  %.81 = fadd double %.79, %.80
  store double %.81, ptr %.16
  %.82 = fptrunc double %.79 to float
  %.83 = fpext float %.82 to double
  %.84 = fsub double %.79, %.83
  %.85 = fptrunc double %.84 to float
  %.86 = call float @llvm.fabs.f32(float %.85)
  %.87 = fcmp olt float %.86, 0x7FF0000000000000
  %.88 = select i1 %.87, float %.85, float -0.0
  %.89 = insertelement <16 x float> poison, float %.88, i64 0
  %.90 = shufflevector <16 x float> %.89, <16 x float> poison, <16 x i32> zeroinitializer
  %.91 = fadd <16 x float> %.90, %.77
  %.92 = insertelement <16 x float> poison, float %.82, i64 0
  %.93 = shufflevector <16 x float> %.92, <16 x float> poison, <16 x i32> zeroinitializer
  %.94 = fadd <16 x float> %.93, %.91
  %.95 = mul i64 %.59, 4
  %.96 = getelementptr i8, ptr %.13, i64 %.95
  call void @llvm.masked.store.v16f32.p0(<16 x float> %.94, ptr align 4 %.96, <16 x i1> %.65)
  %.97 = add i64 %.59, 16
  %.98 = icmp slt i64 %.97, %n1
  br i1 %.98, label %loop.57, label %done.57
done.57:
  %.99 = load i64, ptr %.7
  %.100 = add i64 %.99, 1
  store i64 %.100, ptr %.7
  %.101 = add i64 %.10, 1
  %.102 = icmp slt i64 %.101, %.6
  br i1 %.102, label %loop.8, label %done.8
done.8:
  ret void
}

define void @run(ptr %out.ptr, ptr %x.ptr, i64 %n0, i64 %n1, i64 %out.s0, i64 %x.s0) #0 {
entry:
  %record = alloca [18 x i64]
  %.1 = getelementptr i64, ptr %record, i64 0
  store ptr %out.ptr, ptr %.1, align 8
  %.2 = getelementptr i64, ptr %record, i64 1
  store ptr %x.ptr, ptr %.2, align 8
  %.3 = getelementptr i64, ptr %record, i64 2
  store i64 %n0, ptr %.3, align 8
  %.4 = getelementptr i64, ptr %record, i64 3
  store i64 %n1, ptr %.4, align 8
  %.5 = getelementptr i64, ptr %record, i64 4
  store i64 %out.s0, ptr %.5, align 8
  %.6 = getelementptr i64, ptr %record, i64 5
  store i64 %x.s0, ptr %.6, align 8
  %.7 = icmp eq i64 %n0, 0
  br i1 %.7, label %leave, label %work
work:
  %.8 = getelementptr i64, ptr %record, i64 7
  store i64 %n0, ptr %.8, align 8
  %.9 = getelementptr i64, ptr %record, i64 8
  store i64 %n0, ptr %.9, align 8
  %.10 = getelementptr i64, ptr %record, i64 9
  store i64 %n0, ptr %.10, align 8
  %.11 = getelementptr i64, ptr %record, i64 10
  store i64 1, ptr %.11, align 8
  %.12 = mul i64 %n0, %n1
  %.13 = icmp sgt i64 %.12, 50000
  br i1 %.13, label %then.14, label %done.14
then.14:
  %.15 = mul i64 1, %n1
  %.16 = call i64 @llvm.smax.i64(i64 %.15, i64 1)
  %.17 = udiv i64 19968, %.16
  %.18 = call i64 @llvm.smax.i64(i64 %.17, i64 1)
  %.19 = getelementptr i64, ptr %record, i64 7
  store i64 %n0, ptr %.19, align 8
  %.20 = getelementptr i64, ptr %record, i64 8
  store i64 %.18, ptr %.20, align 8
  %.21 = sub i64 %.18, 1
  %.22 = add i64 %n0, %.21
  %.23 = udiv i64 %.22, %.18
  call void @facula_parallel(ptr @task, ptr %record, i64 %.23)
  br label %leave
never.24:
  br label %done.14
done.14:
  call void @task(ptr %record, i64 0)
  br label %leave
leave:
  ret void
}

attributes #0 = { nounwind "prefer-vector-width"="512" "min-legal-vector-width"="512" }
